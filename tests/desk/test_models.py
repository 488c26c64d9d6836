"""The registry: side by side, and the decisions with their reasons."""

from __future__ import annotations

import json

import boto3
import pytest

from pipelines.registry.models import Models
from tests.desk.visitor import Visitor, sentence
from tests.pipelines.deployment import SETTINGS, Deployment
from tests.pipelines.lineages import evaluation


def predicting(deployment: Deployment) -> int | None:
    models = Models(deployment.aws)
    found = models.predicting(models.versions())
    return found.version if found else None


def evaluated(deployment: Deployment, status: str, accuracy: float) -> None:
    """Registers a version with an evaluation beside its statistics."""
    found = evaluation({"fire": (0.95, 300), "water": (0.71, 100)}, champion=False)
    found["challenger"]["accuracy"] = accuracy
    folder = f"runs/{accuracy}"
    deployment.put("models", f"{folder}/evaluation.json", found)
    deployment.put("models", f"{folder}/statistics.json", {})
    arn = deployment.sagemaker.create_model_package(
        ModelPackageGroupName=SETTINGS.model_package_group,
        ModelApprovalStatus=status,
        InferenceSpecification={
            "Containers": [{"Image": "image", "ModelDataUrl": "s3://placeholder/model.tar.gz"}],
            "SupportedContentTypes": ["text/csv"],
            "SupportedResponseMIMETypes": ["text/csv"],
        },
        ModelMetrics={
            "ModelQuality": {
                "Statistics": {
                    "ContentType": "application/json",
                    "S3Uri": f"s3://{SETTINGS.bucket('models')}/{folder}/statistics.json",
                }
            }
        },
    )["ModelPackageArn"]
    assert arn


def test_the_versions_stand_side_by_side_with_their_figures(deployment: Deployment) -> None:
    for status, accuracy in (("Approved", 0.91), ("PendingManualApproval", 0.935)):
        evaluated(deployment, status, accuracy)
    page = Visitor(deployment.aws).read("/models")
    for told in ("91.0", "93.5", "better than what predicts", "waits for a decision", "71.0"):
        assert told in page
    assert page.index("Version 2") < page.index("Version 1</a>")
    overview = Visitor(deployment.aws).read("/")
    assert "Decide on version 2" in overview
    assert ">Version 1</a> predicts" in overview


def test_without_a_model_the_pages_say_what_to_do(deployment: Deployment) -> None:
    visitor = Visitor(deployment.aws)
    assert "There is no model yet" in visitor.read("/")
    assert "No model is registered yet" in visitor.read("/models")


def test_an_approval_is_recorded_as_the_command_does_it(deployment: Deployment) -> None:
    deployment.register("PendingManualApproval")
    visitor = Visitor(deployment.aws)
    answer = visitor.post("/models/1/approve", why="better on <b>water</b> damage")
    assert (answer.status_code, answer.headers["location"]) == (303, "/models/1")
    assert predicting(deployment) == 1
    (decision,) = Models(deployment.aws).decisions.all()
    assert (decision.what, decision.version) == ("approved", 1)
    assert decision.why == "better on <b>water</b> damage"
    assert decision.who == boto3.client("sts").get_caller_identity()["Arn"]
    page = visitor.read("/models/1")
    assert "better on &lt;b&gt;water&lt;/b&gt; damage" in page
    assert "<b>water" not in page


def test_a_rejection_takes_a_version_out(deployment: Deployment) -> None:
    for _ in range(2):
        deployment.register("Approved")
    Visitor(deployment.aws).post("/models/2/reject", why="confuses fire and smoke")
    assert predicting(deployment) == 1


def test_a_rollback_is_set_shown_and_lifted(deployment: Deployment) -> None:
    for _ in range(2):
        deployment.register("Approved")
    visitor = Visitor(deployment.aws)
    assert "Go back to version 1" in visitor.read("/models/1")
    assert visitor.post("/models/1/rollback", why="2 is worse").status_code == 303
    assert predicting(deployment) == 1
    page = visitor.read("/models")
    assert "A rollback is in force" in page and "2 is worse" in page
    assert "held back by the rollback" in page
    assert "A rollback is in force" in visitor.read("/")
    assert visitor.post("/models/lift", why="2 is mended").status_code == 303
    assert predicting(deployment) == 2


@pytest.mark.parametrize("action", ["1/approve", "1/reject", "1/rollback", "lift"])
@pytest.mark.parametrize("why", ["", "  \n "])
def test_nothing_is_decided_without_a_reason(deployment: Deployment, action: str, why: str) -> None:
    deployment.register("PendingManualApproval")
    answer = Visitor(deployment.aws).post(f"/models/{action}", why=why)
    assert answer.status_code == 400
    assert "Say why" in sentence(answer)
    assert predicting(deployment) is None
    assert Models(deployment.aws).decisions.all() == []


def test_a_reason_that_is_too_long_is_refused_and_not_lost(deployment: Deployment) -> None:
    deployment.register("PendingManualApproval")
    answer = Visitor(deployment.aws).post("/models/1/approve", why="<x>" * 400)
    assert answer.status_code == 400
    assert "1200 characters" in sentence(answer)
    assert "&lt;x&gt;" * 400 in answer.text
    assert predicting(deployment) is None


def test_going_back_to_what_is_not_approved_is_refused(deployment: Deployment) -> None:
    deployment.register("PendingManualApproval")
    answer = Visitor(deployment.aws).post("/models/1/rollback", why="x")
    assert answer.status_code == 400
    assert "approve it first" in sentence(answer)
    assert Models(deployment.aws).serving.ceiling() is None


@pytest.mark.parametrize("path", ["/models/9", "/models/9/card", "/models/x", "/models/-1"])
def test_a_version_that_is_not_there_is_said_not_to_be(deployment: Deployment, path: str) -> None:
    deployment.register()
    assert Visitor(deployment.aws).get(path).status_code == 404


def test_deciding_on_a_version_that_is_not_there_changes_nothing(deployment: Deployment) -> None:
    answer = Visitor(deployment.aws).post("/models/9/approve", why="x")
    assert answer.status_code == 404
    assert "There is no model version 9" in sentence(answer)


def test_the_card_is_shown_without_scripts(deployment: Deployment) -> None:
    deployment.register()
    answer = Visitor(deployment.aws).get("/models/1/card")
    assert "Model card" in answer.text
    assert answer.headers["content-security-policy"].startswith("sandbox; default-src 'none'")


def test_an_unreadable_ceiling_does_not_hide_the_files(deployment: Deployment) -> None:
    deployment.register()
    name = f"serving/{SETTINGS.model_package_group}.json"
    deployment.put("models", name, json.dumps([]).encode())
    page = Visitor(deployment.aws).read("/")
    assert "does not say a version" in page
    assert "A file of claims" in page
