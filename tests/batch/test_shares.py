"""The children of an array job, with real calls of S3 and the registry."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import pytest

from batch import assembly, job, tables
from batch.predict import predict_upload
from batch.settings import JobSettings
from batch.shares import PREDICTIONS, Share, Shares
from batch.tally import Tally
from steps.container import Stopped
from tests.batch.classifiers import load
from tests.batch.test_parts import CSV as NASTY

CSV = NASTY + b'13,"' + b"brakes in,a cell\n" * 40 + b'",z\n14,brakes,end\n'  # wrong guesses
KEY = "incoming/claims.csv"
COUNTED = ("rows_in", "predicted", "rejected", "for_review", "labels", "confidence", "bytes_in")
PREFIX, SHARDS = "results/claims.csv/0123/", "shards/0123/1/"


@cache
def client(service: str) -> Any:
    """A client of moto's server, which is one for all tests; making one takes longer than a job."""
    return boto3.client(service)


@pytest.fixture(autouse=True)
def guesses_go_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "LOOKBACK", 0)


def child(settings: JobSettings, index: int) -> int:
    one = replace(settings, aws_batch_job_array_index=index)
    return predict_upload(one, client("s3"), client("sagemaker"), load)


def upload(body: bytes, key: str = KEY) -> None:
    client("s3").put_object(Bucket="uploads", Key=key, Body=body)


def found(prefix: str) -> dict[str, bytes]:
    s3 = client("s3")
    listed = s3.list_objects_v2(Bucket="results", Prefix=prefix).get("Contents", [])
    return {
        each["Key"].removeprefix(prefix): s3.get_object(Bucket="results", Key=each["Key"])[
            "Body"
        ].read()
        for each in listed
    }


def manifest() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(found(PREFIX)["manifest.json"])
    return document


def outputs() -> tuple[bytes, bytes, dict[str, Any]]:
    """What must not depend on how the work was shared."""
    made = found(PREFIX)
    document = json.loads(made["manifest.json"])
    return made["predictions.csv"], made["rejects.csv"], {name: document[name] for name in COUNTED}


@pytest.fixture
def alone(array: JobSettings) -> tuple[bytes, bytes, dict[str, Any]]:
    """What one job makes of the file."""
    upload(CSV)
    prefix = "alone/"
    assert child(replace(array, shards=1, results_prefix=prefix), 0) == 0
    made = found(prefix)
    document = json.loads(made["manifest.json"])
    return made["predictions.csv"], made["rejects.csv"], {name: document[name] for name in COUNTED}


@pytest.fixture
def array(job_settings: JobSettings) -> JobSettings:
    return replace(
        job_settings,
        input_key=KEY,
        results_prefix=PREFIX,
        shards=3,
        shards_prefix=SHARDS,
        aws_batch_job_id="abc:1",
    )


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_children_in_any_order_make_what_one_job_makes(
    array: JobSettings, alone: tuple[bytes, bytes, dict[str, Any]], order: tuple[int, ...]
) -> None:
    for place, index in enumerate(order):
        assert found(PREFIX) == {}
        assert child(array, index) == 0
        assert ("manifest.json" in found(PREFIX)) == (place == 2)
    assert outputs() == alone
    assert (manifest()["shards"], manifest()["job_id"]) == (3, "abc")
    assert found(SHARDS) == {}


def test_a_child_that_runs_twice_changes_nothing(
    array: JobSettings, alone: tuple[bytes, bytes, dict[str, Any]]
) -> None:
    for index in (0, 0, 2, 2):
        assert child(array, index) == 0
    committed = {name: data for name, data in found(SHARDS).items() if name.endswith(".json")}
    assert child(array, 2) == 0
    assert {name: found(SHARDS)[name] for name in committed} == committed
    assert child(array, 1) == 0
    settled = found(PREFIX)
    assert outputs() == alone
    for index in range(3):  # late duplicates
        assert child(array, index) == 0
    assert found(PREFIX) == settled
    assert found(SHARDS) == {}


@pytest.mark.parametrize("overtaken_at", ["shares", "rejects", "join", "report", "manifest"])
def test_of_two_that_assemble_at_once_one_manifest_stands(
    array: JobSettings,
    alone: tuple[bytes, bytes, dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    overtaken_at: str,
) -> None:
    place, name = {
        "shares": (job.assembly, "chained"),
        "rejects": (job.assembly, "write_rejects"),
        "join": (job.assembly, "join"),
        "report": (job, "render"),
        "manifest": (job.manifest, "write"),
    }[overtaken_at]
    real = getattr(place, name)

    def overtaken(*arguments: Any) -> Any:
        monkeypatch.setattr(place, name, real)
        assert child(replace(array, aws_batch_job_id="first"), 1) == 0
        return real(*arguments)

    for index in (0, 2):
        assert child(array, index) == 0
    monkeypatch.setattr(place, name, overtaken)
    assert child(replace(array, aws_batch_job_id="second"), 1) == 0
    assert manifest()["job_id"] == "first"
    assert outputs() == alone


def test_a_share_that_was_predicted_anew_is_kept_for_the_next_attempt(
    array: JobSettings,
    alone: tuple[bytes, bytes, dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def die(*_: object) -> None:
        raise Stopped

    for index in (0, 1):
        assert child(array, index) == 0
    with monkeypatch.context() as dying:
        dying.setattr(assembly, "join", die)
        with pytest.raises(Stopped):
            child(array, 2)
    repaired = [name for name in found(SHARDS) if "/from-" in name]
    assert repaired  # a guess went wrong
    real = job.predict_table
    predicted: list[int] = []
    monkeypatch.setattr(job, "predict_table", lambda *a: predicted.append(1) or real(*a))
    assert child(array, 2) == 0
    assert predicted == []
    assert outputs() == alone


@pytest.mark.parametrize("body", [b"id,claim\n1,a\n" * 99, b"", b"PK\x03\x04" + b"x" * 999])
def test_a_file_that_cannot_be_read_is_settled_by_the_first_child(
    array: JobSettings, body: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    upload(body)
    assert [child(array, index) for index in (1, 0, 2)] == [2, 2, 2]
    assert found(PREFIX).keys() == {"manifest.json"}
    assert manifest()["outcome"] == "failed"
    assert capsys.readouterr().err.count("\n") == 1


def test_a_gzip_file_under_another_name_is_read_whole_by_the_first_child(
    array: JobSettings, alone: tuple[bytes, bytes, dict[str, Any]]
) -> None:
    upload(gzip.compress(CSV, mtime=0))
    for index in (2, 0, 1):
        assert child(array, index) == 0
    assert manifest()["predictions"].endswith("predictions.csv.gz")
    assert gzip.decompress(found(PREFIX)["predictions.csv.gz"]) == alone[0]
    assert found(PREFIX)["rejects.csv"] == alone[1]


def test_more_children_than_bytes_are_no_harm(array: JobSettings) -> None:
    upload(b"text\nx")
    array = replace(array, shards=9)
    assert [child(array, index) for index in range(9)] == [0] * 9
    assert (manifest()["predicted"], manifest()["bytes_in"]) == (1, 6)
    assert found(PREFIX)["predictions.csv"].count(b"\n") == 2


def test_json_lines_without_a_row_become_an_empty_file(array: JobSettings) -> None:
    upload(b"\n\n\n", "a.jsonl")
    array = replace(array, input_key="a.jsonl")
    assert [child(array, index) for index in range(3)] == [0, 0, 0]
    assert found(PREFIX)["predictions.jsonl"] == b""


MB = 2**20


@pytest.mark.parametrize(
    "sizes",
    [(1,), (5 * MB,), (6 * MB, 3, 7 * MB), (3, 6 * MB, 0, 3 * MB, 3 * MB, 9), (4 * MB, 9 * MB)],
)
def test_pieces_of_any_size_are_joined(aws: str, sizes: tuple[int, ...], tmp_path: Path) -> None:
    s3 = client("s3")
    bodies = [bytes([65 + index]) * size for index, size in enumerate(sizes)]
    shares = []
    for index, body in enumerate(bodies):
        s3.put_object(Bucket="results", Key=f"shards/{index}/{PREDICTIONS}", Body=body)
        shares.append(
            Share(index, 0, 0, 0, "a", f"shards/{index}/", len(body), 0.0, Tally().to_json())
        )
    assembly.join(s3, "results", shares, "joined")
    assert s3.get_object(Bucket="results", Key="joined")["Body"].read() == b"".join(bodies)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket="results")


def test_a_join_that_fails_leaves_no_upload_behind(aws: str) -> None:
    s3 = client("s3")
    gone = Share(0, 0, 0, 0, "a", "gone/", 6 * MB, 0.0, Tally().to_json())
    with pytest.raises(s3.exceptions.ClientError):
        assembly.join(s3, "results", [gone], "joined")
    assert "Uploads" not in s3.list_multipart_uploads(Bucket="results")


def test_shares_of_more_than_a_page_are_found_and_deleted(
    aws: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3 = client("s3")
    shares = Shares(s3, "results", "shards/1/", 12)
    monkeypatch.setattr(
        shares, "_keys", lambda: _pages(s3, "shards/1/")
    )  # pages of five keys, as S3 has of a thousand
    for index in range(12):
        assert shares.all() is None
        document = Share(index, 0, 0, 0, "a", "", 0, 0.0, Tally().to_json())
        s3.put_object(
            Bucket="results",
            Key=f"shards/1/{index}/share.json",
            Body=json.dumps(vars(document)).encode(),
        )
    assert [share.index for share in shares.all() or []] == list(range(12))
    shares.delete()
    assert found("shards/1/") == {}


def _pages(s3: Any, prefix: str) -> Iterator[str]:
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket="results", Prefix=prefix, PaginationConfig={"PageSize": 5}
    )
    return (each["Key"] for page in pages for each in page.get("Contents", []))
