"""Approval, rollback, and what of them people are told."""

from __future__ import annotations

import json
from pathlib import Path

import boto3
import pytest
from click.testing import CliRunner, Result

from lambdas import layout
from lambdas.registry import Registry
from pipelines.cli.model import command
from pipelines.errors import UserError
from pipelines.registry.models import Models
from pipelines.registry.serving import serving_key
from tests.pipelines.deployment import GROUP, SETTINGS, Deployment


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, list(arguments))


def served(deployment: Deployment) -> int | None:
    """What the functions would let predict: they and the commands have to agree."""
    bucket = SETTINGS.bucket("models")
    registry = Registry(deployment.sagemaker, deployment.s3, bucket, GROUP)
    model = registry.newest_approved()
    models = Models(deployment.aws)
    shown = models.predicting(models.versions())
    assert (model and model.version) == (shown and shown.version)
    return model.version if model else None


def test_commands_and_functions_look_for_the_ceiling_in_the_same_place() -> None:
    assert serving_key("claims-dev") == layout.serving_key("claims-dev")


def test_a_rollback_lets_the_approved_version_before_predict(deployment: Deployment) -> None:
    for status in ("Approved", "Rejected", "Approved"):
        deployment.register(status)
    assert served(deployment) == 3
    done = run("rollback", "--why", "confuses fire and smoke")
    assert done.exit_code == 0
    assert "version 1 predicts from the next upload on" in done.output
    assert served(deployment) == 1


def test_what_a_rollback_records_is_who_when_and_why(deployment: Deployment) -> None:
    deployment.register()
    assert run("rollback", "1", "--why", "pinned for the audit").exit_code == 0
    stored = deployment.s3.get_object(Bucket=SETTINGS.bucket("models"), Key=serving_key(GROUP))
    document = json.loads(stored["Body"].read())
    assert document["ceiling"] == 1
    assert document["why"] == "pinned for the audit"
    assert document["set_by"] == boto3.client("sts").get_caller_identity()["Arn"]
    assert document["set_at"].endswith("+00:00")


def test_an_approval_under_a_ceiling_says_that_it_does_not_predict(deployment: Deployment) -> None:
    for status in ("Approved", "Approved", "PendingManualApproval"):
        deployment.register(status)
    run("rollback", "1", "--why", "2 is worse")
    done = run("approve", "3", "--why", "good")
    assert "version 3 does not predict: no version above 1 predicts" in done.output
    assert done.output.count("claimflow model rollback --clear") == 1
    assert "takes it out" not in done.output
    assert served(deployment) == 1
    listed = run("list").output
    assert "Approved  ◄ predicts" in listed.splitlines()[3]
    assert "held back by the rollback" in listed.splitlines()[1]
    assert "2 is worse" in listed
    assert run("rollback", "--clear").output.splitlines()[0] == "lifted"
    assert served(deployment) == 3
    assert "does not predict" not in run("approve", "3", "--why", "again").output


def test_a_rejection_under_a_ceiling_says_how_to_lift_it(deployment: Deployment) -> None:
    for _ in range(3):
        deployment.register()
    run("rollback", "1", "--why", "2 is worse")
    done = run("reject", "3", "--why", "worse still")
    assert "version 1 predicts" in done.output
    assert "`claimflow model rollback --clear` lifts it" in done.output
    assert "takes it out" not in done.output
    run("rollback", "--clear")
    done = run("reject", "3", "--why", "again")
    assert "`claimflow model reject 2` takes it out" in done.output


def test_rolled_back_twice_goes_back_twice(deployment: Deployment) -> None:
    for _ in range(3):
        deployment.register()
    run("rollback", "--why", "a")
    run("rollback", "--why", "b")
    assert served(deployment) == 1
    done = run("rollback", "--why", "c")
    assert isinstance(done.exception, UserError)
    assert "no approved version before 1" in str(done.exception)
    assert served(deployment) == 1


def test_under_a_ceiling_without_an_approved_version_nothing_predicts(
    deployment: Deployment,
) -> None:
    for _ in range(2):
        deployment.register()
    run("rollback", "1", "--why", "a")
    done = run("reject", "1", "--why", "worse still")
    assert "new uploads wait" in done.output
    assert served(deployment) is None, "never a version above the ceiling"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rollback"], "needs its reason"),
        (["rollback", "1", "--why", "  "], "needs its reason"),
        (["rollback", "1", "--clear"], "takes no version"),
        (["rollback", "9", "--why", "x"], "There is no model version 9; the registry has: 3, 2, 1"),
        (["rollback", "2", "--why", "x"], "Model version 2 is Rejected: approve it first"),
        (["rollback", "3", "--why", "x"], "Model version 3 is PendingManualApproval"),
        (["rollback", "--why", "x"], "no approved version before 1"),
    ],
)
def test_a_rollback_that_cannot_be_is_one_line_and_changes_nothing(
    deployment: Deployment, arguments: list[str], said: str
) -> None:
    for status in ("Approved", "Rejected", "PendingManualApproval"):
        deployment.register(status)
    failed = run(*arguments).exception
    assert isinstance(failed, UserError)
    assert said in str(failed)
    assert "\n" not in str(failed)
    assert Models(deployment.aws).serving.ceiling() is None


@pytest.mark.parametrize("body", [b"", b"[]", b'{"ceiling": "3"}', b'{"ceiling": true}', b"\xff"])
def test_an_unreadable_ceiling_is_one_line_and_can_be_lifted(
    deployment: Deployment, body: bytes
) -> None:
    deployment.register()
    deployment.put("models", serving_key(GROUP), body)
    failed = run("list").exception
    assert isinstance(failed, UserError)
    assert "does not say a version" in str(failed)
    assert run("rollback", "--clear").exit_code == 0
    assert served(deployment) == 1


def test_lifting_what_is_not_there_says_so(deployment: Deployment) -> None:
    deployment.register()
    assert "nothing to lift" in run("rollback", "--clear").output


def test_the_history_keeps_every_rollback_and_who_lifted_it(deployment: Deployment) -> None:
    for _ in range(3):
        deployment.register(why="better")
    run("rollback", "2", "--why", "first")
    run("rollback", "1", "--why", "second")
    run("rollback", "--clear", "--why", "repaired")
    deployment.put("models", serving_key(GROUP) + ".backup", {"ceiling": 7})
    shown = run("history").output
    who = boto3.client("sts").get_caller_identity()["Arn"]
    for line in (
        f"rolled back to version 2  by {who}: first",
        f"rolled back to version 1  by {who}: second",
        f"rollback to version 1 lifted  by {who}: repaired",
        "version 3 approved",
        ": better",
        "version 1 registered",
    ):
        assert line in shown
    assert "version 7" not in shown
    listed = json.loads(run("history", "--json").output)
    assert [one["at"] for one in listed] == sorted((one["at"] for one in listed), reverse=True)


def test_programs_read_what_predicts_and_what_is_held_back(deployment: Deployment) -> None:
    for _ in range(2):
        deployment.register()
    run("rollback", "--why", "x")
    listed = {one["version"]: one for one in json.loads(run("list", "--json").output)}
    assert (listed[1]["predicts"], listed[1]["held_back"]) == (True, False)
    assert (listed[2]["predicts"], listed[2]["held_back"]) == (False, True)


def test_a_version_is_fetched_as_a_folder_that_predicts(
    deployment: Deployment, tmp_path: Path
) -> None:
    deployment.s3.create_bucket(
        Bucket="placeholder", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    deployment.s3.put_object(Bucket="placeholder", Key="model.tar.gz", Body=b"an artifact")
    deployment.register()
    done = run("fetch", "1", "--output", str(tmp_path / "new" / "folder"))
    path = tmp_path / "new" / "folder" / "model.tar.gz"
    assert done.output.strip() == str(path)
    assert path.read_bytes() == b"an artifact"
    assert [one.name for one in path.parent.iterdir()] == ["model.tar.gz"]


def test_an_artifact_that_is_gone_is_one_line(deployment: Deployment, tmp_path: Path) -> None:
    deployment.register()
    failed = run("fetch", "1", "--output", str(tmp_path)).exception
    assert isinstance(failed, UserError)
    assert "The artifact of model version 1 is gone" in str(failed)
