"""What is there again after the local cloud's process was killed, and what has become of the rest.

One life and its crash serve all tests: `before` tells what the first cloud knew.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lambdas.layout import upload_id
from tests.local.local_cloud import (
    ACCOUNT,
    IMAGE,
    REGION,
    Cloud,
    Document,
    fail,
    folder,
    get,
    is_alive,
    output_of,
    parameter,
    processing,
    script_file,
    training,
    wait_for,
    writes,
)

KEYS = [
    "plain",
    "a b",
    "ü/→ b",
    "a+b",
    "100%",
    "%2F",
    "/leading",
    "a//b",
    "q?x=1",
    "end/",
    "x" * 900,
]
PLAIN = "t-plain-bucket"  # without versions
BUCKET = "t-versioned-bucket"  # none of those that the cloud makes itself
CACHED: Document = {"CacheConfig": {"Enabled": True}}
JOB_QUEUE = "t-test-predict"
TOKEN = "of the execution that is retried"  # 32 characters


@dataclass
class Life:
    """A cloud after its crash, and what was known before."""

    cloud: Cloud
    pids: list[int]
    pipeline: str
    running: str  # ARN of the execution that ran
    retried: str  # ARN of another, which is retried
    done: Document  # an execution that had ended
    package: str
    batch: dict[str, str]  # job ids by what they are for
    folder: Path
    upload: str  # id of an upload that nobody has noticed
    objects: dict[str, Any] = field(default_factory=dict)


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    state = tmp_path_factory.mktemp("restart") / "state"
    place = tmp_path_factory.mktemp("marks")
    first = Cloud(state)
    try:
        known = _live(first, place)
    finally:
        first.crash()
    for pid in known["pids"]:
        wait_for(partial(_has_ended, pid))
    with (state / "logs/aws/sagemaker/ProcessingJobs").joinpath("broken.jsonl").open("w") as file:
        file.write('{"timestamp": 1, "mess')  # a line that a crash has cut
    second = Cloud(state)
    yield Life(cloud=second, folder=place, **known)
    second.stop()


def _has_ended(pid: int) -> bool:
    return not is_alive(pid)


def _live(cloud: Cloud, place: Path) -> dict[str, Any]:
    """Leaves a bit of everything, and jobs that run."""
    objects = _objects(cloud)
    upload = _unnoticed_upload(cloud)
    client = cloud.client("sagemaker")
    done = cloud.run(processing("A", "print('a line of log')"), fail("No", "on purpose"))
    group = "t-test-dev"
    client.create_model_package_group(ModelPackageGroupName=group)
    package = client.create_model_package(
        ModelPackageGroupName=group,
        InferenceSpecification={
            "Containers": [{"Image": IMAGE, "ModelDataUrl": "s3://b/model.tar.gz"}],
            "SupportedContentTypes": ["text/csv"],
            "SupportedResponseMIMETypes": ["text/csv"],
        },
        CustomerMetadataProperties={"code": "1"},
    )["ModelPackageArn"]
    client.update_model_package(ModelPackageArn=package, ModelApprovalStatus="Approved")

    pipeline = cloud.create(
        processing("First", f"open('{place}/first', 'a').write('x')", **CACHED),
        training(
            "Second",
            f"import os, time; open('{place}/second', 'w').write(str(os.getpid()))\n"
            "while os.environ['WAIT'] == 'yes': time.sleep(.1)",
            environment={"WAIT": get("Parameters.Wait")},
            DependsOn=["First"],
        ),
        parameters=(parameter("Wait", "String", "no"),),
    )
    running = cloud.start(pipeline, Wait="yes")
    retried = client.start_pipeline_execution(
        PipelineName=_create_retried(cloud, place), ClientRequestToken=TOKEN
    )["PipelineExecutionArn"]
    batch = _batch(cloud, place)

    def pids() -> list[int]:
        files = [place / "second", place / "fourth", place / "batch1"]
        found = [path.read_text() for path in files if path.exists()]
        return [int(text) for text in found] if all(found) and len(found) == 3 else []

    return {
        "pids": wait_for(pids),
        "pipeline": pipeline,
        "running": running,
        "retried": retried,
        "done": done,
        "package": package,
        "batch": batch,
        "objects": objects,
        "upload": upload,
    }


def _create_retried(cloud: Cloud, place: Path) -> str:
    """A pipeline whose second step waits for a file, and uses what the first has left."""
    report = folder()
    return cloud.create(
        processing(
            "Third",
            f"open('{place}/third', 'a').write('x')\n{writes('o', '3')}",
            outputs={"o": report},
        ),
        processing(
            "Fourth",
            f"import os, time; open('{place}/fourth', 'w').write(str(os.getpid()))\n"
            f"while not os.path.exists('{place}/go'): time.sleep(.1)\n"
            "assert open('processing/i/out.txt').read() == '3'",
            inputs={"i": output_of("Third", "o")},
        ),
    )


def _unnoticed_upload(cloud: Cloud) -> str:
    """The id of an upload whose event is lost: nobody takes it out of the queue."""
    functions, bucket = cloud.client("lambda"), f"t-test-predictions-{ACCOUNT}-{REGION}"
    for mapping in functions.list_event_source_mappings()["EventSourceMappings"]:
        functions.delete_event_source_mapping(UUID=mapping["UUID"])
    put = cloud.client("s3").put_object(Bucket=bucket, Key="incoming/lost ü.csv", Body=b"text\na\n")
    return upload_id(bucket, "incoming/lost ü.csv", put["VersionId"])


def _objects(cloud: Cloud) -> dict[str, Any]:
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket=PLAIN)
    s3.create_bucket(Bucket=BUCKET)
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    for key in KEYS:
        s3.put_object(
            Bucket=PLAIN, Key=key, Body=key.encode(), ContentType="text/csv", Metadata={"rows": "3"}
        )
    s3.put_object(Bucket=PLAIN, Key="replaced", Body=b"old")
    s3.put_object(Bucket=PLAIN, Key="replaced", Body=b"new")
    s3.put_object(Bucket=PLAIN, Key="deleted", Body=b"x")
    s3.delete_object(Bucket=PLAIN, Key="deleted")
    for body in (b"1", b"2", b"3"):
        s3.put_object(Bucket=BUCKET, Key="versions", Body=body)
    s3.put_object(Bucket=BUCKET, Key="hidden", Body=b"x")
    s3.delete_object(Bucket=BUCKET, Key="hidden")
    for body in (b"a", b"b", b"c"):
        s3.put_object(Bucket=BUCKET, Key="cut", Body=body)
    versions = s3.list_object_versions(Bucket=BUCKET, Prefix="cut")["Versions"]
    s3.delete_object(Bucket=BUCKET, Key="cut", VersionId=versions[1]["VersionId"])
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="parts")["UploadId"]
    parts = []
    for number, body in enumerate((b"a" * (5 << 20), b"b"), 1):
        part = s3.upload_part(
            Bucket=BUCKET, Key="parts", UploadId=upload, PartNumber=number, Body=body
        )
        parts.append({"PartNumber": number, "ETag": part["ETag"]})
    s3.complete_multipart_upload(
        Bucket=BUCKET, Key="parts", UploadId=upload, MultipartUpload={"Parts": parts}
    )
    s3.copy_object(Bucket=PLAIN, Key="copied", CopySource={"Bucket": BUCKET, "Key": "parts"})
    for key in ("many/1", "many/2", "many/3"):
        s3.put_object(Bucket=PLAIN, Key=key, Body=b"x")
    s3.delete_objects(Bucket=PLAIN, Delete={"Objects": [{"Key": "many/1"}, {"Key": "many/3"}]})
    s3.create_bucket(Bucket="t-gone")
    s3.delete_bucket(Bucket="t-gone")
    return _seen(s3)


def _seen(s3: Any) -> dict[str, Any]:
    """All that a client can see of the objects."""
    found: dict[str, Any] = {"buckets": sorted(b["Name"] for b in s3.list_buckets()["Buckets"])}
    for bucket in (PLAIN, BUCKET):
        listed = s3.list_object_versions(Bucket=bucket)
        found[f"{bucket} versions"] = [
            {**one, "LastModified": str(one["LastModified"])} for one in listed.get("Versions", [])
        ]
        found[f"{bucket} markers"] = [
            (one["Key"], one["VersionId"], one["IsLatest"])
            for one in listed.get("DeleteMarkers", [])
        ]
        for one in listed.get("Versions", []):
            more = {} if one["VersionId"] == "null" else {"VersionId": one["VersionId"]}
            answer = s3.get_object(Bucket=bucket, Key=one["Key"], **more)
            found[f"{bucket} {one['Key']} {one['VersionId']}"] = (
                answer["Body"].read(),
                answer["ETag"],
                answer["ContentType"],
                answer["Metadata"],
                answer["LastModified"],
            )
    return found


def _batch(cloud: Cloud, place: Path) -> dict[str, str]:
    """A job that runs, may be tried again, and waits at its first attempt only; and one behind."""
    batch = cloud.client("batch")
    script = (
        "import os, time; attempt = os.environ['AWS_BATCH_JOB_ATTEMPT']\n"
        f"open('{place}/batch' + attempt, 'w').write(str(os.getpid()))\n"
        "time.sleep(60 if attempt == '1' else 0)"
    )
    overrides = {"command": ["python", "-S", script_file(script)]}

    def submit(name: str, **more: Any) -> str:
        return str(
            batch.submit_job(
                jobName=name, jobQueue=JOB_QUEUE, jobDefinition="t-test-predict", **more
            )["jobId"]
        )

    again = {
        "attempts": 2,
        "evaluateOnExit": [
            {"onStatusReason": "Host EC2*", "action": "RETRY"},
            {"onReason": "*", "action": "EXIT"},
        ],
    }
    quick = {"command": ["python", "-c", ""]}
    return {
        "again": submit("again", containerOverrides=overrides, retryStrategy=again),
        "behind": submit("behind", containerOverrides=quick),
    }


def test_nothing_of_a_job_outlives_the_cloud(life: Life) -> None:
    assert not any(is_alive(pid) for pid in life.pids)
    assert list((life.cloud.state / "jobs").glob("*")) == []


def test_objects_are_there_again_as_they_were(life: Life) -> None:
    found = _seen(life.cloud.client("s3"))
    assert found.keys() == life.objects.keys()
    for what, value in life.objects.items():
        assert found[what] == value, what
    # The test sees what it should: all odd keys, versions, and the marker.
    assert {f"{PLAIN} {key} null" for key in KEYS} <= found.keys()
    assert [key for key, _, _ in found[f"{BUCKET} markers"]] == ["hidden"]
    keys = [one["Key"] for one in found[f"{BUCKET} versions"]]
    assert (keys.count("versions"), keys.count("cut")) == (3, 2)


def test_versions_go_on_where_they_were(life: Life) -> None:
    s3 = life.cloud.client("s3")
    s3.put_object(Bucket=BUCKET, Key="again", Body=b"1")
    s3.put_object(Bucket=BUCKET, Key="again", Body=b"2")
    assert len(s3.list_object_versions(Bucket=BUCKET, Prefix="again")["Versions"]) == 2
    assert s3.get_object(Bucket=BUCKET, Key="again")["Body"].read() == b"2"


def test_what_ran_has_failed_with_its_reason_and_what_was_done_is_there(life: Life) -> None:
    run = life.cloud.finish(life.running)
    assert run["PipelineExecutionStatus"] == "Failed"
    assert "The local cloud ended while this ran" in run["FailureReason"]
    assert {name: one["StepStatus"] for name, one in run["Steps"].items()} == {
        "First": "Succeeded",
        "Second": "Failed",
    }
    assert "The local cloud ended" in run["Steps"]["Second"]["FailureReason"]
    job = life.cloud.job(run, "Second")
    assert job["TrainingJobStatus"] == "Failed" and "local cloud ended" in job["FailureReason"]
    done = life.cloud.finish(life.done["PipelineExecutionArn"])
    assert done["Steps"] == life.done["Steps"]
    assert done["FailureReason"] == "on purpose"


def test_a_new_start_uses_the_cached_step(life: Life) -> None:
    run = life.cloud.finish(life.cloud.start(life.pipeline))
    assert run["PipelineExecutionStatus"] == "Succeeded"
    hit = run["Steps"]["First"]["CacheHitResult"]["SourcePipelineExecutionArn"]
    assert hit == life.running
    assert (life.folder / "first").read_text() == "x"


def test_what_ran_can_be_retried_and_what_had_succeeded_is_kept(life: Life) -> None:
    (life.folder / "go").touch()
    client = life.cloud.client("sagemaker")
    client.retry_pipeline_execution(PipelineExecutionArn=life.retried, ClientRequestToken=TOKEN)
    run = life.cloud.finish(life.retried)
    assert run["PipelineExecutionStatus"] == "Succeeded", run
    assert (life.folder / "third").read_text() == "x"


def test_the_token_of_a_start_is_still_known(life: Life) -> None:
    pipeline = life.retried.split(":pipeline/")[1].partition("/")[0]
    answer = life.cloud.client("sagemaker").start_pipeline_execution(
        PipelineName=pipeline, ClientRequestToken=TOKEN
    )
    assert answer["PipelineExecutionArn"] == life.retried


def test_models_and_approvals_are_there_and_versions_count_on(life: Life) -> None:
    client = life.cloud.client("sagemaker")
    package = client.describe_model_package(ModelPackageName=life.package)
    assert package["ModelApprovalStatus"] == "Approved"
    assert package["CustomerMetadataProperties"] == {"code": "1"}
    created = client.create_model_package(
        ModelPackageGroupName="t-test-dev", InferenceSpecification=package["InferenceSpecification"]
    )
    assert created["ModelPackageArn"].endswith("/2")


def test_logs_are_there(life: Life) -> None:
    logs = life.cloud.client("logs")
    name = life.done["Steps"]["A"]["Metadata"]["ProcessingJob"]["Arn"].rpartition("/")[2]
    group = "/aws/sagemaker/ProcessingJobs"
    (stream,) = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=name)[
        "logStreams"
    ]
    events = logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"])
    assert [event["message"] for event in events["events"]] == ["a line of log"]


def finished(life: Life, name: str) -> Document:
    batch = life.cloud.client("batch")

    def ended() -> Document | None:
        (job,) = batch.describe_jobs(jobs=[life.batch[name]])["jobs"]
        return dict(job) if job["status"] in ("SUCCEEDED", "FAILED") else None

    return dict(wait_for(ended))


def test_a_batch_job_that_ran_is_tried_again(life: Life) -> None:
    job = finished(life, "again")
    assert job["status"] == "SUCCEEDED"
    assert [one["statusReason"] for one in job["attempts"]] == [
        "Host EC2 (local cloud) terminated.",
        "Essential container in task exited",
    ]
    assert (life.folder / "batch2").exists()


def test_a_batch_job_that_waited_is_run(life: Life) -> None:
    job = finished(life, "behind")
    assert (job["status"], len(job["attempts"])) == ("SUCCEEDED", 1)


def test_an_upload_that_was_not_noticed_before_the_crash_is_noticed(life: Life) -> None:
    key, results = f"waiting/{life.upload}.json", f"t-test-results-{ACCOUNT}-{REGION}"
    wait_for(lambda: life.cloud.keys(f"s3://{results}/{key}"))


def test_functions_and_queues_work_again(life: Life) -> None:
    cloud = life.cloud
    place = f"s3://t-test-models-{ACCOUNT}-{REGION}/no-champion/"  # where the function may write
    event = {"model_package_group": "t-test", "no_champion_uri": place}
    answer = cloud.client("lambda").invoke(
        FunctionName="t-test-champion", Payload=json.dumps(event).encode()
    )
    assert json.loads(answer["Payload"].read())["uri"] == place
    mappings = cloud.client("lambda").list_event_source_mappings()["EventSourceMappings"]
    queues = {one["EventSourceArn"].rpartition(":")[2] for one in mappings}
    names = ("uploads", "notices", "labelled", "registered")
    assert queues == {f"t-test-{name}" for name in names}
    rules = {one["Name"] for one in cloud.client("events").list_rules()["Rules"]}
    assert {"t-test-upload", "t-test-approval", "t-test-settled", "t-test-sweep"} <= rules
