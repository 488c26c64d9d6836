"""Runs, on a local cloud that executes them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipelines.aws import Aws
from pipelines.settings import Settings
from tests.desk.visitor import Visitor, sentence
from tests.local.local_cloud import (
    OK,
    REGION,
    ROLE,
    Cloud,
    create_function,
    definition,
    fail,
    processing,
    training,
)

SETTINGS = Settings(project="t", stage="test", region=REGION)
STANDS = "import time\nwhile True: time.sleep(0.1)"


@pytest.fixture
def visitor(cloud: Cloud, tmp_path: Path) -> Visitor:
    given = SETTINGS.model_copy(update={"state": tmp_path})
    return Visitor(Aws(given, cloud.variables))


def begin(cloud: Cloud, *steps: dict[str, object]) -> str:
    """Starts an execution of the deployment's own pipeline with these steps; its ARN."""
    sagemaker = cloud.client("sagemaker")
    document = {"PipelineName": SETTINGS.pipeline_name, "PipelineDefinition": definition(*steps)}
    try:
        sagemaker.create_pipeline(**document, RoleArn=ROLE)
    except sagemaker.exceptions.ClientError:
        sagemaker.update_pipeline(**document)
    return cloud.start(SETTINGS.pipeline_name)


def test_before_anything_was_trained_the_pages_say_so(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Settings, "pipeline_name", "not-made")
    for path in ("/runs", "/"):
        assert "There is no pipeline not-made yet" in visitor.read(path)


def test_a_run_is_live_until_it_ends_and_has_a_report(cloud: Cloud, visitor: Visitor) -> None:
    arn = begin(cloud, processing("Validate", OK), training("Train", STANDS, seconds=600))
    identifier = arn.rpartition("/")[2]
    page = visitor.read(f"/runs/{identifier}")
    assert f'data-live="/live/runs/{identifier}"' in page
    assert "<noscript><meta http-equiv" in page, "without script the page loads itself anew"
    part = visitor.read(f"/live/runs/{identifier}")
    assert part.startswith('<div id="run"')
    assert "<html" not in part
    cloud.client("sagemaker").stop_pipeline_execution(
        PipelineExecutionArn=arn, ClientRequestToken="t" * 32
    )
    cloud.finish(arn)
    page = visitor.read(f"/runs/{identifier}")
    assert "stopped" in page and "data-live" not in page
    report = visitor.get(f"/runs/{identifier}/report")
    assert f"Run {identifier}" in report.text
    assert report.headers["content-security-policy"].startswith("sandbox; ")


def test_a_failed_run_says_where_and_why(cloud: Cloud, visitor: Visitor) -> None:
    script = "open('output/message', 'w').write('3 <texts> are missing'); raise SystemExit(1)"
    arn = begin(cloud, processing("Validate", script))
    cloud.finish(arn)
    for path in ("/runs", f"/runs/{arn.rpartition('/')[2]}", "/"):
        page = visitor.read(path)
        assert "failed at Validate" in page
        assert "3 &lt;texts&gt; are missing" in page


def test_a_rejected_model_is_no_failure(cloud: Cloud, visitor: Visitor) -> None:
    cloud.finish(begin(cloud, fail("ModelRejected", "it missed a bar")))
    page = visitor.read("/runs")
    assert "the model missed a bar" in page


@pytest.mark.parametrize("path", ["", "/report"])
def test_a_run_that_is_not_there_is_said_not_to_be(
    cloud: Cloud, visitor: Visitor, path: str
) -> None:
    begin(cloud, processing("Validate", OK))
    answer = visitor.get(f"/runs/abcdefghijkl{path}")
    assert answer.status_code == 404
    assert "There is no execution abcdefghijkl" in sentence(answer)


ANSWER = """
def handler(event, _context):
    assert event["cause"] == "manual", event
    return {"outcome": %r, "execution": "arn:aws:x/abcdefghijkl", "data_version": "v",
            "manifest": "m", "changes": []}
"""


@pytest.mark.parametrize("outcome", ["started", "unchanged"])
def test_a_retraining_is_asked_for(
    cloud: Cloud, visitor: Visitor, monkeypatch: pytest.MonkeyPatch, outcome: str
) -> None:
    name = create_function(cloud, ANSWER % outcome)
    monkeypatch.setattr(Settings, "function_name", lambda _self, _purpose: name)
    answer = visitor.post("/retrain")
    if outcome == "started":
        assert (answer.status_code, answer.headers["location"]) == (303, "/runs/abcdefghijkl")
    else:
        assert answer.status_code == 200
        found = re.search(r'role="status">(.*?)</p>', answer.text)
        assert found and "Nothing has changed since execution abcdefghijkl" in found[1]


def test_what_the_function_has_against_a_retraining_is_told(cloud: Cloud, visitor: Visitor) -> None:
    begin(cloud, processing("Validate", OK))
    answer = visitor.post("/retrain")
    assert answer.status_code == 400
    assert "store today&#39;s with `claimflow pipeline upsert`" in sentence(answer).replace(
        "&#x27;", "&#39;"
    )


def test_a_function_that_breaks_is_told(
    cloud: Cloud, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = create_function(cloud, "def handler(_event, _context):\n    raise OSError('disk')")
    monkeypatch.setattr(Settings, "function_name", lambda _self, _purpose: name)
    answer = visitor.post("/retrain")
    assert answer.status_code == 502
    assert "failed: OSError: disk" in sentence(answer)
