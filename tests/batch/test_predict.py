"""The job as Batch starts it, with real calls of S3 and the registry and a small classifier."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from batch import job, objects
from batch import manifest as manifests
from batch.outputs import rejects_writer
from batch.passes import predict_table
from batch.predict import main, predict_upload
from batch.settings import JobSettings
from batch.tables import open_table
from steps.container import Stopped
from steps.errors import InputError
from tests.batch.classifiers import ARTIFACT, Brakes, load
from tests.batch.fake_s3 import FakeS3

KEY, PREFIX = "incoming/ü a+b%20.csv", "results/ü a+b%20.csv/0123/"
CSV = b"id,text\n1,the brakes squeal\n2,\n3,a dent in the door\n"


@pytest.fixture
def settings(job_settings: JobSettings) -> JobSettings:
    return replace(job_settings, input_key=KEY, results_prefix=PREFIX)


def upload(body: bytes, key: str = KEY) -> str:
    answer = boto3.client("s3").put_object(Bucket="uploads", Key=key, Body=body)
    return answer["ETag"].strip('"')


def run(settings: JobSettings) -> int:
    return predict_upload(settings, boto3.client("s3"), boto3.client("sagemaker"), load)


def results() -> dict[str, bytes]:
    """The objects below the prefix, by their names there."""
    s3 = boto3.client("s3")
    found = s3.list_objects_v2(Bucket="results", Prefix=PREFIX).get("Contents", [])
    return {
        each["Key"].removeprefix(PREFIX): s3.get_object(Bucket="results", Key=each["Key"])[
            "Body"
        ].read()
        for each in found
    }


def manifest() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(results()["manifest.json"])
    return found


def test_a_file_becomes_predictions_rejects_and_a_manifest(settings: JobSettings) -> None:
    etag = upload(CSV)
    assert run(replace(settings, input_etag=etag)) == 0
    assert results()["predictions.csv"].decode().splitlines() == [
        "id,text,label,confidence,review,model_version",
        "1,the brakes squeal,brakes,0.9000,false,1",
        "3,a dent in the door,other,0.4000,true,1",
    ]
    assert results()["rejects.csv"].decode().splitlines() == [
        "line,reason,row",
        '3,the text is blank,"2,"',
    ]
    found = manifest()
    assert found.pop("seconds") > 0
    assert found == {
        "outcome": "succeeded",
        "reason": "",
        "upload_id": "0123",
        "bucket": "uploads",
        "key": KEY,
        "version": "",
        "etag": etag,
        "model_package_arn": settings.model_package_arn,
        "model_package_version": 1,
        "approval_status": "Approved",
        "artifact_sha256": hashlib.sha256(b"a model").hexdigest(),
        "rows_in": 3,
        "predicted": 2,
        "rejected": 1,
        "for_review": 1,
        "labels": {"brakes": 1, "other": 1},
        "confidence": {
            "histogram": [int(place in (40, 90)) for place in range(100)],
            "quantiles": {"p05": 0.401, "p25": 0.405, "p50": 0.41, "p75": 0.905, "p95": 0.909},
        },
        "reference": None,
        "predictions": f"{PREFIX}predictions.csv",
        "rejects": f"{PREFIX}rejects.csv",
        "report": f"{PREFIX}report.html",
        "shards": 1,
        "bytes_in": len(CSV),
        "code_version": "abc",
        "job_id": "",
    }


@pytest.mark.parametrize(
    ("body", "predicted", "rejected"),
    [
        (b"id,text\n", 0, 0),
        (b'id,text\n1,"a\n2,b\n3,"c, d"\n', 2, 1),
        ("id,text\n1,ü\n".encode() + "2,ü\n3,a\n".encode("latin-1"), 2, 1),
        (b"id,text\n1,a\0\n2,b\n", 1, 1),
        (b"id,text\n1\n2,b\n3,c,d\n", 1, 2),
        (b"label,text\nold,a\n", 1, 0),
        (b"sep=;\nid;text\n1;a\n", 1, 0),
        (b"id,text\n1," + b"x" * (50 * 2**20) + b"\n2,b\n", 1, 1),
    ],
)
def test_of_bad_rows_every_one_is_counted(
    settings: JobSettings, body: bytes, predicted: int, rejected: int
) -> None:
    upload(body)
    assert run(settings) == 0
    found = manifest()
    assert (found["predicted"], found["rejected"]) == (predicted, rejected)
    assert found["rows_in"] == predicted + rejected


@pytest.mark.parametrize(
    ("key", "body", "name"),
    [
        ("incoming/a.csv", gzip.compress(CSV, mtime=0), "predictions.csv.gz"),
        ("incoming/a.jsonl", b'{"text": "brakes"}\n{"text": 1}\n', "predictions.jsonl"),
        ("incoming/a", CSV, "predictions.csv"),
    ],
)
def test_the_output_has_the_format_of_the_input(
    settings: JobSettings, key: str, body: bytes, name: str
) -> None:
    upload(body, key)
    assert run(replace(settings, input_key=key)) == 0
    assert results().keys() == {name, "rejects.csv", "report.html", "manifest.json"}
    assert manifest()["predictions"] == PREFIX + name


def test_the_version_of_the_event_is_predicted_not_the_newest(settings: JobSettings) -> None:
    s3 = boto3.client("s3")
    s3.put_bucket_versioning(Bucket="uploads", VersioningConfiguration={"Status": "Enabled"})
    version = s3.put_object(Bucket="uploads", Key=KEY, Body=CSV)["VersionId"]
    upload(b"id,text\n")
    assert run(replace(settings, input_version=version)) == 0
    assert manifest()["rows_in"] == 3


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "the file is empty"),
        (b"PK\x03\x04 and so on", "a zip archive"),
        (gzip.compress(CSV * 99, mtime=0)[:40], "the gzip stream ends early"),
        (
            b"id,claim\n1,a\n",
            "no column 'text'; the header has 'id', 'claim': rename the one with the text",
        ),
        (b"text,id,text\n", "more than once: 'text'"),
        (b"\x89PNG\r\n\x1a\n\0\0", "the header cannot be read"),
        (b"\x7fELF\0\0\0", "a binary file"),
        (b"PAR1\x15\0 damaged", "the Parquet file cannot be read"),
    ],
)
def test_a_file_that_cannot_be_read_leaves_a_failed_manifest_alone(
    settings: JobSettings, body: bytes, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    upload(body)
    assert run(settings) == 2
    assert results().keys() == {"manifest.json"}
    assert manifest()["outcome"] == "failed"
    assert reason in manifest()["reason"]
    assert [manifest()[name] for name in ("rows_in", "predicted", "rejected")] == [0, 0, 0]
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert run(settings) == 2  # the verdict stands, and nothing is done again


def test_a_gzip_stream_that_ends_early_counts_nothing_as_predicted(settings: JobSettings) -> None:
    body = gzip.compress(b"id,text\n" + os.urandom(300_000).hex().encode().replace(b"0", b"\n1,"))
    upload(body[:-2000])
    assert run(settings) == 2
    assert results().keys() == {"manifest.json"}


def test_an_upload_deleted_or_overwritten_meanwhile_is_said_so(settings: JobSettings) -> None:
    assert run(replace(settings, results_prefix="gone/")) == 2
    upload(CSV)
    assert run(replace(settings, input_etag="another")) == 2
    assert "it was overwritten" in manifest()["reason"]


def test_an_object_overwritten_between_two_ranges_is_never_mixed(
    settings: JobSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "RANGE", 16)
    upload(CSV)
    source = objects.InputObject(boto3.client("s3"), "uploads", KEY, "", "").buffered()
    assert source.read(16) == CSV[:16]
    upload(CSV.upper())
    with pytest.raises(InputError, match="overwritten"):
        source.read(16)


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 48, 50])
def test_an_object_is_read_whole_in_ranges(
    aws: str, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(objects, "RANGE", 16)
    monkeypatch.setattr(objects, "FIRST_RANGE", 4)
    body = os.urandom(size)
    upload(body)
    assert objects.InputObject(boto3.client("s3"), "uploads", KEY, "", "").buffered().read() == body


def test_a_seek_costs_little_and_reading_on_gets_fewer_and_larger_answers(aws: str) -> None:
    upload(bytes(40 * 2**20))
    s3, asked = boto3.client("s3"), list[str]()
    s3.meta.events.register(
        "before-call.s3.GetObject", lambda params, **_: asked.append(params["headers"]["Range"])
    )
    source = objects.InputObject(s3, "uploads", KEY, "", "").buffered()
    source.readline(9)
    source.seek(30 * 2**20)
    source.readline(9)
    assert asked == ["bytes=0-262143", "bytes=31457280-31719423"]
    source.seek(0)
    assert sum(map(len, iter(lambda: source.read(2**20), b""))) == 40 * 2**20
    assert len(asked) - 2 < 12


@pytest.mark.parametrize("body", [b"", b"id,claim\n1,a\n", b"PAR1\x15", b"PK\x03\x04"])
def test_a_key_with_line_breaks_makes_one_line_in_log_and_manifest(
    settings: JobSettings, body: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    key = "incoming/a\nerror: \x1b[31mforged\u2028\u202e.csv"
    s3: Any = FakeS3()  # moto's server does not take such a key
    s3.objects = {("uploads", key): body, ("models", "7/model.tar.gz"): ARTIFACT}
    job_settings = replace(settings, input_key=key)
    assert predict_upload(job_settings, s3, boto3.client("sagemaker"), load) == 2
    found = json.loads(s3.objects["results", f"{PREFIX}manifest.json"])
    assert found["reason"].isprintable()
    assert capsys.readouterr().err == f"error: {found['reason']}\n"
    assert found["key"] == key


def test_a_settled_upload_is_left_alone(settings: JobSettings) -> None:
    upload(CSV)
    assert run(settings) == 0
    before = results()
    upload(b"id,text\n9,other content\n")
    assert run(settings) == 0
    assert results() == before


@pytest.mark.parametrize("at", ["batch.job.predict_table", "batch.manifest.write"])
def test_of_two_jobs_at_once_the_first_manifest_stands(
    settings: JobSettings, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    upload(CSV)
    real = job.predict_table if at == "batch.job.predict_table" else manifests.write

    def overtaken(*arguments: Any) -> Any:
        monkeypatch.setattr(at, real)
        assert run(replace(settings, aws_batch_job_id="first")) == 0
        return real(*arguments)

    monkeypatch.setattr(at, overtaken)
    assert run(replace(settings, aws_batch_job_id="second")) == 0
    assert manifest()["job_id"] == "first"


def test_a_job_that_another_overtook_uploads_nothing(
    settings: JobSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(CSV)
    real = job.predict_table

    def overtaken(*arguments: Any) -> Any:
        monkeypatch.setattr(job, "predict_table", real)
        assert run(settings) == 0
        boto3.client("s3").delete_object(Bucket="results", Key=f"{PREFIX}rejects.csv")
        return real(*arguments)

    monkeypatch.setattr(job, "predict_table", overtaken)
    assert run(settings) == 0
    assert "rejects.csv" not in results()


def test_dying_before_the_manifest_leaves_the_work_to_the_next_attempt(
    settings: JobSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(CSV)

    def die(*_: object) -> None:
        raise Stopped

    with monkeypatch.context() as dying:
        dying.setattr(manifests, "write", die)
        with pytest.raises(Stopped):
            run(settings)
    assert results().keys() == {"predictions.csv", "rejects.csv", "report.html"}
    assert run(settings) == 0
    assert manifest()["predicted"] == 2


def test_a_model_rejected_since_still_predicts_and_the_manifest_says_so(
    settings: JobSettings,
) -> None:
    upload(CSV)
    boto3.client("sagemaker").update_model_package(
        ModelPackageArn=settings.model_package_arn, ModelApprovalStatus="Rejected"
    )
    assert run(settings) == 0
    assert manifest()["approval_status"] == "Rejected"


def test_a_model_rejected_while_the_job_runs_still_predicts(
    settings: JobSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(CSV)
    real = job.predict_table

    def rejected_meanwhile(*arguments: Any) -> Any:
        boto3.client("sagemaker").update_model_package(
            ModelPackageArn=settings.model_package_arn, ModelApprovalStatus="Rejected"
        )
        return real(*arguments)

    monkeypatch.setattr(job, "predict_table", rejected_meanwhile)
    assert run(settings) == 0
    assert (manifest()["predicted"], manifest()["approval_status"]) == (2, "Approved")


@pytest.mark.parametrize("bucket", ["uploads", "models"])
def test_a_bucket_that_denies_access_is_one_clear_failure(
    settings: JobSettings, bucket: str
) -> None:
    upload(CSV)
    s3 = boto3.client("s3")

    def refuse(params: dict[str, Any], model: Any, **_: object) -> None:
        if f"/{bucket}/" in params["url_path"] or f"/{bucket}/" in params["url"]:
            answer = {"Error": {"Code": "403", "Message": "Forbidden"}}
            raise ClientError(answer, model.name)

    s3.meta.events.register("before-call.s3", refuse)
    assert predict_upload(settings, s3, boto3.client("sagemaker"), load) == 2
    assert manifest()["outcome"] == "failed"
    assert "the job's role may not read it" in manifest()["reason"]


def test_results_that_may_not_be_written_are_one_line_and_not_a_traceback(
    settings: JobSettings,
) -> None:
    upload(CSV)
    with start(replace(settings, results_bucket="no-such-bucket")) as job:
        errors = job.communicate()[1]
        assert job.returncode == 1
    assert errors.startswith("error: ") and errors.count("\n") == 1


STATISTICS = {
    "version": 0.0,
    "multiclass_classification_metrics": {
        "confusion_matrix": {"a": {"a": 1}},
        "accuracy": {"value": 0.9312, "standard_deviation": "NaN"},
        "weighted_f1": {"value": "NaN"},
    },
}


@pytest.mark.parametrize(
    ("body", "told"),
    [(json.dumps(STATISTICS), True), ("[]", False), ("{", False), ("{}", False), (None, False)],
)
def test_the_report_tells_the_accuracy_where_the_registry_knows_it(
    settings: JobSettings, body: str | None, told: bool
) -> None:
    upload(CSV)
    if body is not None:
        boto3.client("s3").put_object(Bucket="models", Key="statistics.json", Body=body.encode())
    sagemaker = boto3.client("sagemaker")
    metrics = {"ContentType": "application/json", "S3Uri": "s3://models/statistics.json"}
    arn = sagemaker.create_model_package(
        ModelPackageGroupName="claims",
        ModelApprovalStatus="Approved",
        ModelMetrics={"ModelQuality": {"Statistics": metrics}},
        InferenceSpecification={
            "Containers": [{"Image": "image", "ModelDataUrl": "s3://models/7/model.tar.gz"}],
            "SupportedContentTypes": ["text/csv"],
            "SupportedResponseMIMETypes": ["text/csv"],
        },
    )["ModelPackageArn"]
    assert run(replace(settings, model_package_arn=arn)) == 0
    assert ("93.1" in results()["report.html"].decode()) == told


def test_the_manifest_tells_what_the_model_was_trained_on(
    settings: JobSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(CSV)
    histogram = [0] * 99 + [7]
    info = {"training_data": {"labels": {"brakes": 3}}, "validation_confidence": histogram}
    monkeypatch.setattr(Brakes, "info", info)
    assert run(settings) == 0
    assert manifest()["reference"] == {
        "labels": {"brakes": 3},
        "confidence_histogram": histogram,
    }


@pytest.mark.parametrize(
    ("environment", "error"),
    [
        ({"SHARDS": "x"}, "SHARDS is 'x'"),
        ({"SHARDS": "0"}, "SHARDS is '0'"),
        ({"SHARDS": "2"}, "lacks SHARDS_PREFIX, AWS_BATCH_JOB_ARRAY_INDEX"),
        (
            {"SHARDS": "2", "SHARDS_PREFIX": "s/", "AWS_BATCH_JOB_ARRAY_INDEX": "2"},
            "AWS_BATCH_JOB_ARRAY_INDEX is '2', expected a number from 0 to 1",
        ),
        ({"FORMULAS": "drop"}, "FORMULAS is 'drop', expected keep or neutralise"),
    ],
)
def test_a_setting_that_is_none_is_named(environment: dict[str, str], error: str) -> None:
    needed = ("INPUT_BUCKET", "INPUT_KEY", "MODEL_PACKAGE_ARN", "RESULTS_BUCKET", "RESULTS_PREFIX")
    with pytest.raises(InputError, match=re.escape(error)):
        JobSettings.from_environment(dict.fromkeys(needed, "x") | environment)


def test_the_settings_of_a_child_are_read() -> None:
    needed = ("INPUT_BUCKET", "INPUT_KEY", "MODEL_PACKAGE_ARN", "RESULTS_BUCKET", "RESULTS_PREFIX")
    array = {"SHARDS": "3", "SHARDS_PREFIX": "s/", "AWS_BATCH_JOB_ARRAY_INDEX": "2"}
    more = {"FORMULAS": "neutralise", "AWS_BATCH_JOB_ID": "abc:2"}
    settings = JobSettings.from_environment(dict.fromkeys(needed, "x") | array | more)
    assert (settings.shards, settings.aws_batch_job_array_index) == (3, 2)
    assert (settings.neutralise, settings.job_id) == (True, "abc")


def test_a_tampered_artifact_fails_the_upload_and_is_not_retried(settings: JobSettings) -> None:
    upload(CSV)
    boto3.client("s3").put_object(Bucket="models", Key="7/model.tar.gz", Body=b"tampered")
    assert run(settings) == 2
    assert manifest()["reason"] == "the artifact's sums are wrong"


def test_a_model_package_that_is_gone_is_named(settings: JobSettings) -> None:
    upload(CSV)
    assert run(replace(settings, model_package_arn=settings.model_package_arn + "9")) == 2
    assert "is not in the registry any more" in manifest()["reason"]


def test_missing_settings_are_all_named_and_not_retried(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("INPUT_BUCKET", "INPUT_KEY", "MODEL_PACKAGE_ARN", "RESULTS_BUCKET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RESULTS_PREFIX", "results/")
    assert main() == 2
    assert capsys.readouterr().err == (
        "error: the job's environment lacks INPUT_BUCKET, INPUT_KEY, MODEL_PACKAGE_ARN, "
        "RESULTS_BUCKET\n"
    )


CHILD = """
import sys, time
from batch import predict
class Slow:
    text_column = "text"

    def predict(self, texts):
        print("begun", flush=True)
        time.sleep(60)
Slow.info = {}
predict.load_classifier = lambda archive, folder: Slow()
sys.exit(predict.main())
"""


def start(settings: JobSettings) -> subprocess.Popen[str]:
    environment = {
        name.upper(): str(value) for name, value in vars(settings).items() if value
    } | os.environ
    return subprocess.Popen(
        [sys.executable, "-c", CHILD],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("shards", [1, 2])
def test_sigterm_ends_the_job_with_143_and_leaves_nothing(
    settings: JobSettings, shards: int
) -> None:
    upload(CSV)
    array = replace(settings, shards=shards, shards_prefix="shards/1/", aws_batch_job_array_index=1)
    with start(array) as job:
        assert job.stdout is not None
        assert job.stdout.readline() == "begun\n"
        job.send_signal(signal.SIGTERM)
        assert job.wait(20) == 143
        assert job.stderr is not None
        assert job.stderr.read() == "stopped by SIGTERM\n"
    assert "Contents" not in boto3.client("s3").list_objects_v2(Bucket="results")
    for index in range(shards):  # Batch tries again
        assert run(replace(array, aws_batch_job_array_index=index)) == 0
    assert manifest()["predicted"] == 2


def test_a_fault_of_the_network_is_worth_another_attempt(settings: JobSettings) -> None:
    with start(replace(settings, results_bucket="no-such-bucket")) as job:
        assert job.wait(20) == 1


def test_100_000_rows_take_seconds(settings: JobSettings) -> None:
    upload(b"".join(_rows(100_000)))
    start = time.process_time()
    assert run(settings) == 0
    assert time.process_time() - start < 10
    assert manifest()["rows_in"] == 100_000


def test_memory_does_not_grow_with_the_input(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        (tmp_path / str(count)).write_bytes(b"".join(_rows(count)))
        tracemalloc.start()
        with (tmp_path / str(count)).open("rb") as file, rejects_writer(tmp_path / "r") as rejects:
            table = open_table(file, "a.csv", "text")
            tally = predict_table(table, Brakes(), 1, tmp_path, rejects)
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert tally.predicted == count
        return highest

    assert peak(40_000) < 1.2 * peak(8_000)


def _rows(count: int) -> Iterator[bytes]:
    yield b"id,text\n"
    for number in range(count):
        yield b'%d,"a claim about the brakes, ""quoted"", of some length"\n' % number
