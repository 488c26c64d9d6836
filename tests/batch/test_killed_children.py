"""The children of an array job, killed at every one of their calls, before and after its effect."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from batch import tables
from batch.predict import predict_upload
from batch.settings import JobSettings
from tests.batch.classifiers import ARTIFACT, load
from tests.batch.fake_s3 import FakeS3, KilledError, Moment
from tests.batch.test_parts import CSV as NASTY

CSV = NASTY + b'13,"' + b"brakes in,a cell\n" * 40 + b'",z\n14,brakes,end\n'  # wrong guesses
RESULTS, SHARDS = "results/claims.csv/0123/", "shards/0123/1/"
PACKAGE = {
    "ModelPackageVersion": 1,
    "ModelApprovalStatus": "Approved",
    "InferenceSpecification": {"Containers": [{"ModelDataUrl": "s3://models/model.tar.gz"}]},
}
REGISTRY: Any = SimpleNamespace(describe_model_package=lambda **_: PACKAGE)
COUNTED = ("rows_in", "predicted", "rejected", "for_review", "labels", "confidence", "bytes_in")


def settings(shards: int) -> JobSettings:
    return JobSettings(
        input_bucket="uploads",
        input_key="claims.csv",
        model_package_arn="arn",
        results_bucket="results",
        results_prefix=RESULTS,
        upload_id="0123",
        shards=shards,
        shards_prefix=SHARDS,
    )


def fresh() -> FakeS3:
    s3 = FakeS3()
    s3.objects = {("uploads", "claims.csv"): CSV, ("models", "model.tar.gz"): ARTIFACT}
    return s3


def child(s3: FakeS3, shards: int, index: int) -> None:
    one = replace(settings(shards), aws_batch_job_array_index=index)
    client: Any = s3
    assert predict_upload(one, client, REGISTRY, load) == 0


def killed(s3: FakeS3, shards: int, index: int, at: int, moment: Moment) -> bool:
    """Runs a child that dies at call `at`; False if it made fewer."""
    s3.revive(at, moment)
    try:
        child(s3, shards, index)
    except KilledError:
        return True
    finally:
        s3.revive()
    return False


def outputs(s3: FakeS3) -> list[Any]:
    """What must not depend on who died when."""
    document = json.loads(s3.objects["results", f"{RESULTS}manifest.json"])
    files = [s3.objects["results", document[name]] for name in ("predictions", "rejects")]
    assert document["outcome"] == "succeeded"
    assert ("results", document["report"]) in s3.objects
    return [*files, *(document[name] for name in COUNTED)]


@pytest.mark.parametrize("moment", Moment)
@pytest.mark.parametrize("shards", [2, 3])
def test_a_child_killed_at_any_call_and_run_again_makes_the_same(
    monkeypatch: pytest.MonkeyPatch, shards: int, moment: Moment
) -> None:
    monkeypatch.setattr(tables, "LOOKBACK", 0)  # so that guesses go wrong
    whole = fresh()
    child(whole, 1, 0)
    expected = outputs(whole)
    repaired = settled_before = 0
    for victim in range(shards):
        others = [index for index in range(shards) if index != victim]
        for place in range(shards):  # how many of the others have ended before
            for at in range(1, 1000):
                s3 = fresh()
                for index in others[:place]:
                    child(s3, shards, index)
                if not killed(s3, shards, victim, at, moment):
                    break
                repaired += any("/from-" in key for _, key in s3.objects)
                manifest = s3.objects.get(("results", f"{RESULTS}manifest.json"))
                # Batch starts it again before or after the others, now and then.
                again = [victim, *others[place:]] if at % 2 else [*others[place:], victim]
                for index in again:
                    child(s3, shards, index)
                assert outputs(s3) == expected, (victim, place, at)
                if manifest is not None:
                    settled_before += 1
                    assert s3.objects["results", f"{RESULTS}manifest.json"] == manifest
            assert at > 10
    assert repaired and settled_before
