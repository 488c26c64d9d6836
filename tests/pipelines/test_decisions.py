"""Who decided what, when and why: every decision is known, whatever happened around it."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import datetime, timezone, tzinfo
from typing import Any, cast

import boto3
import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner, Result

from lambdas import decisions as lambda_decisions
from lambdas import layout
from pipelines.cli.model import command
from pipelines.errors import UserError
from pipelines.registry import decisions
from pipelines.registry.decisions import Decision, Decisions, decisions_prefix
from pipelines.registry.models import Models
from pipelines.registry.serving import serving_key
from tests.pipelines.deployment import GROUP, SETTINGS, Deployment

BUCKET = SETTINGS.bucket("models")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, list(arguments))


def records(deployment: Deployment) -> list[dict[str, Any]]:
    """What is recorded, as it lies on S3, oldest first."""
    listed = deployment.s3.list_objects_v2(Bucket=BUCKET, Prefix=decisions_prefix(GROUP))
    bodies = [
        deployment.s3.get_object(Bucket=BUCKET, Key=one["Key"])["Body"].read()
        for one in listed.get("Contents", [])
    ]
    return [json.loads(body) for body in bodies]


def history() -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads(run("history", "--json").output)
    return listed


@pytest.mark.parametrize(
    ("arguments", "what", "version"),
    [
        (["approve", "2"], "approved", 2),
        (["reject", "2"], "rejected", 2),
        (["rollback", "1"], "rolled back", 1),
        (["rollback", "--clear"], "rollback lifted", 1),
    ],
)
def test_each_decision_is_recorded_with_who_when_and_why(
    deployment: Deployment, arguments: list[str], what: str, version: int
) -> None:
    deployment.register()
    deployment.register("PendingManualApproval")
    if "--clear" in arguments:
        run("rollback", "1", "--why", "before")
    began = datetime.now(timezone.utc)
    assert run(*arguments, "--why", "because of\nwater  damage").exit_code == 0
    found = records(deployment)[-1]
    at = datetime.fromisoformat(found.pop("at"))
    assert abs((at - began).total_seconds()) < 60
    assert found == {
        "what": what,
        "version": version,
        "who": boto3.client("sts").get_caller_identity()["Arn"],
        "why": "because of water damage",
    }


def test_every_decision_about_a_version_is_known_not_only_the_last(deployment: Deployment) -> None:
    deployment.register("PendingManualApproval")
    for arguments in (("approve", "first"), ("reject", "second"), ("approve", "third")):
        run(arguments[0], "1", "--why", arguments[1])
    told = [(one["sentence"], one["why"]) for one in history()]
    assert told == [
        ("version 1 approved", "third"),
        ("version 1 rejected", "second"),
        ("version 1 approved", "first"),
        ("version 1 registered", ""),
    ]


@pytest.mark.parametrize("what", ["approve", "reject"])
@pytest.mark.parametrize(
    ("why", "said"), [([], "needs its reason"), (["--why", " \n"], "needs its reason")]
)
def test_without_a_reason_nothing_is_decided(
    deployment: Deployment, what: str, why: list[str], said: str
) -> None:
    deployment.register("PendingManualApproval")
    failed = run(what, "1", *why).exception
    assert isinstance(failed, UserError)
    assert said in str(failed)
    assert "\n" not in str(failed)
    assert Models(deployment.aws).show(1).approval == "PendingManualApproval"
    assert records(deployment) == []


def test_a_reason_that_the_registry_would_not_keep_is_refused(deployment: Deployment) -> None:
    deployment.register("PendingManualApproval")
    failed = run("approve", "1", "--why", "x" * 1025).exception
    assert "expected at most 1024" in str(failed)
    assert run("approve", "1", "--why", "x" * 1024).exit_code == 0


def test_what_aws_refuses_is_not_recorded(deployment: Deployment) -> None:
    assert isinstance(run("approve", "7", "--why", "x").exception, UserError)
    assert records(deployment) == []


def test_a_change_in_a_console_is_told_beside_the_records(deployment: Deployment) -> None:
    arn = deployment.register("PendingManualApproval")
    run("approve", "1", "--why", "good")
    deployment.sagemaker.update_model_package(
        ModelPackageArn=arn, ModelApprovalStatus="Rejected", ApprovalDescription="clicked"
    )
    lines = run("history").output.splitlines()
    assert "version 1 rejected" in lines[0] and lines[0].endswith("clicked  (not recorded)")
    assert lines[1].endswith("good")
    assert [one["is_recorded"] for one in history()] == [False, True, True]


def test_a_verdict_taken_back_in_a_console_is_told(deployment: Deployment) -> None:
    arn = deployment.register("PendingManualApproval")
    run("approve", "1", "--why", "good")
    deployment.sagemaker.update_model_package(
        ModelPackageArn=arn, ModelApprovalStatus="PendingManualApproval"
    )
    assert history()[0]["sentence"] == "version 1 set back to pending"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["approve", "2"], "version 2 approved"),
        (["reject", "2"], "version 2 rejected"),
        (["rollback", "1"], "rolled back to version 1"),
        (["rollback", "--clear"], "rollback to version 1 lifted"),
    ],
)
def test_a_crash_before_the_record_loses_no_decision(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, arguments: list[str], told: str
) -> None:
    deployment.register()
    deployment.register("PendingManualApproval")
    if "--clear" in arguments:
        run("rollback", "1", "--why", "before")

    def crash(self: Decisions, decision: Decision) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Decisions, "add", crash)
        assert run(*arguments, "--why", "the reason").exit_code != 0
    (found,) = [one for one in history() if one["sentence"] == told]
    assert (found["why"], found["is_recorded"]) == ("the reason", False)


def test_rollbacks_from_before_there_were_records_are_still_told(deployment: Deployment) -> None:
    for at, lifted in (("2026-01-01", {}), ("2026-01-02", {"lifted": True})):
        ceiling = {"ceiling": 4, "set_at": f"{at}T00:00:00+00:00", "set_by": "arn:aws:iam::1:root"}
        deployment.put("models", serving_key(GROUP), {**ceiling, "why": "old", **lifted})
    deployment.s3.delete_object(Bucket=BUCKET, Key=serving_key(GROUP))
    assert [(one["at"][:10], one["sentence"], one["why"]) for one in history()] == [
        ("2026-01-02", "rollback to version 4 lifted", "old"),
        ("2026-01-01", "rolled back to version 4", "old"),
    ]


def test_a_rollback_is_told_once_and_as_recorded(deployment: Deployment) -> None:
    for _ in range(2):
        deployment.register(why="x")
    run("rollback", "1", "--why", "a")
    run("rollback", "--clear", "--why", "b")
    told = [one for one in history() if "roll" in one["what"]]
    assert [(one["what"], one["is_recorded"]) for one in told] == [
        ("rollback lifted", True),
        ("rolled back", True),
    ]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"at": 1, "what": "x", "version": 1}', b"\xff", b'{"version": 3}']
)
def test_a_damaged_record_is_told_and_hides_no_other(deployment: Deployment, body: bytes) -> None:
    deployment.register("PendingManualApproval")
    run("approve", "1", "--why", "good")
    deployment.put("models", f"{decisions_prefix(GROUP)}20260101T000000000000Z-0.json", body)
    shown = run("history").output
    assert "an unreadable record" in shown
    assert "version 1 approved" in shown


def test_what_the_function_decides_by_itself_is_told_beside_what_people_decide(
    deployment: Deployment,
) -> None:
    arns = [deployment.register("PendingManualApproval") for _ in range(2)]
    now = datetime.now(timezone.utc)
    for version, what in ((1, "kept for a person"), (2, "approved automatically")):
        made = lambda_decisions.Decision(
            now.isoformat(), cast(lambda_decisions.What, what), version, "automatic", "0.95 reached"
        )
        lambda_decisions.record(deployment.s3, BUCKET, GROUP, now, made)
    deployment.sagemaker.update_model_package(
        ModelPackageArn=arns[1],
        ModelApprovalStatus="Approved",
        ApprovalDescription="Approved automatically: 0.95 reached",
    )
    told = {(one["sentence"], one["who"], one["is_recorded"]) for one in history()}
    assert told >= {
        ("version 1 kept for a person", "automatic", True),
        ("version 2 approved automatically", "automatic", True),
    }
    assert len(told) == 4, "beside both registrations nothing else"
    shown = run("history").output
    assert "version 2 approved automatically: 0.95 reached" in shown
    assert "version 1 kept for a person  by automatic: 0.95 reached" in shown
    assert "approval               Approved automatically: 0.95 reached" in run("show", "2").output


def test_commands_and_functions_record_in_the_same_place_and_form() -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=timezone.utc)
    key = layout.decision_key("claims-dev", now, "0123abcd")
    assert key == f"{decisions_prefix('claims-dev')}20260102T030405000006Z-0123abcd.json"
    theirs = {one.name for one in fields(lambda_decisions.Decision)}
    assert theirs == {one.name for one in fields(Decision)} - {"is_recorded"}


class Stopped(datetime):
    """A clock that stands still."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Stopped:
        return cls(2026, 1, 1, tzinfo=tz)


def test_a_record_is_never_overwritten(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decisions, "datetime", Stopped)
    monkeypatch.setattr("secrets.token_hex", lambda size: "0" * 2 * size)
    kept = Decisions(deployment.aws)
    first = kept.new("approved", 1, "first")
    kept.add(first)
    kept.add(first)  # the client's own second try after an answer that was lost
    with pytest.raises(ClientError, match="PreconditionFailed"):
        kept.add(kept.new("rejected", 1, "second"))
    assert [one["why"] for one in records(deployment)] == ["first"]


def test_an_approval_after_a_rollback_says_that_the_rollback_holds_and_both_are_known(
    deployment: Deployment,
) -> None:
    for status in ("Approved", "Approved", "PendingManualApproval"):
        deployment.register(status, why="x")
    run("rollback", "1", "--why", "2 is worse")
    said = run("approve", "3", "--why", "good").output
    assert "version 3 does not predict: no version above 1 predicts" in said
    models = Models(deployment.aws)
    predicting = models.predicting(models.versions())
    assert predicting and predicting.version == 1
    assert [one["sentence"] for one in history()][:2] == [
        "version 3 approved",
        "rolled back to version 1",
    ]
