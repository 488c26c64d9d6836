"""A version is approved without a person only where that is wanted and it is good enough."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdas import approve, objects
from lambdas.approve import BEGINNING, handler, judge
from tests.lambdas.eventbridge import GROUP, MODELS, state_change
from tests.lambdas.fakes import client_error

PENDING = "PendingManualApproval"
GOOD = {
    "challenger": {"accuracy": 0.93},
    "comparison": {"has_champion": True, "regression": -0.02, "regression_high": -0.01},
}
FOLDER = "runs/x/evaluation"


class Context:
    def get_remaining_time_in_millis(self) -> int:
        return 60_000


class DeadError(BaseException):
    """The process is gone."""


@pytest.fixture
def bars(aws: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Sets the bars of automatic approval: without arguments it is off."""
    dead = boto3.client("sqs").create_queue(QueueName="dead")["QueueUrl"]
    for name, value in {
        "MODEL_PACKAGE_GROUP": GROUP,
        "MODELS_BUCKET": MODELS,
        "DEAD_LETTER_QUEUE_URL": dead,
        "MAX_RECEIVES": "5",
    }.items():
        monkeypatch.setenv(name, value)

    def set_bars(accuracy: str = "", regression: str = "") -> None:
        monkeypatch.setenv("APPROVE_ACCURACY", accuracy)
        monkeypatch.setenv("APPROVE_REGRESSION", regression)
        approve._approver.cache_clear()

    set_bars("0.9")
    yield set_bars
    approve._approver.cache_clear()


def register(evaluation: Any = GOOD, statistics: str | None = None, status: str = PENDING) -> str:
    """Registers a version as the pipeline does, after its evaluation."""
    sagemaker = boto3.client("sagemaker")
    if not sagemaker.list_model_package_groups()["ModelPackageGroupSummaryList"]:
        sagemaker.create_model_package_group(ModelPackageGroupName=GROUP)
    if evaluation is not None:
        body = evaluation if isinstance(evaluation, bytes) else json.dumps(evaluation).encode()
        boto3.client("s3").put_object(Bucket=MODELS, Key=f"{FOLDER}/evaluation.json", Body=body)
    uri = f"s3://{MODELS}/{FOLDER}/statistics.json" if statistics is None else statistics
    quality: Any = {"Statistics": {"ContentType": "application/json", "S3Uri": uri}}
    arn: str = sagemaker.create_model_package(
        ModelPackageGroupName=GROUP,
        ModelApprovalStatus=status,  # type: ignore[arg-type]
        ModelMetrics={"ModelQuality": quality} if uri else {},
        InferenceSpecification={
            "Containers": [{"Image": "image", "ModelDataUrl": "s3://models/model.tar.gz"}],
            "SupportedContentTypes": ["text/csv"],
            "SupportedResponseMIMETypes": ["text/csv"],
        },
    )["ModelPackageArn"]
    return arn


def deliver(body: str) -> list[str]:
    message = {"messageId": "1", "body": body, "attributes": {"ApproximateReceiveCount": "1"}}
    answer = handler({"Records": [message]}, Context())
    return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]


def state(arn: str) -> tuple[str, str]:
    """The approval status and its reason."""
    found = boto3.client("sagemaker").describe_model_package(ModelPackageName=arn)
    return found["ModelApprovalStatus"], found.get("ApprovalDescription", "")


def decisions() -> list[dict[str, Any]]:
    s3 = boto3.client("s3")
    listed = s3.list_objects_v2(Bucket=MODELS, Prefix=f"decisions/{GROUP}/").get("Contents", [])
    for one in listed:
        name = one["Key"].rpartition("/")[2]
        assert re.fullmatch(r"\d{8}T\d{12}Z-[0-9a-f]{8}\.json", name)
    bodies = [s3.get_object(Bucket=MODELS, Key=one["Key"])["Body"].read() for one in listed]
    return [json.loads(body) for body in bodies]


def test_a_version_that_is_good_enough_is_approved_and_recorded(bars: Callable[..., None]) -> None:
    arn = register()
    assert deliver(state_change(arn, PENDING)) == []
    why = "accuracy 0.9300; noise included it gains at least 0.0100 of accuracy on the champion"
    assert state(arn) == ("Approved", BEGINNING + why)
    (decision,) = decisions()
    assert decision.pop("at")[:2] == "20"
    assert decision == {
        "what": "approved automatically",
        "version": 1,
        "who": "automatic approval",
        "why": why,
    }


def test_a_version_that_is_not_is_left_to_people_who_learn_why(bars: Callable[..., None]) -> None:
    bars("0.95")
    arn = register()
    assert deliver(state_change(arn, PENDING)) == []
    assert state(arn) == (PENDING, "")
    (decision,) = decisions()
    assert decision["what"] == "kept for a person"
    assert decision["why"] == "its accuracy is 0.9300, expected at least 0.95"


def test_unless_it_is_wanted_nothing_is_approved_nor_recorded(bars: Callable[..., None]) -> None:
    bars()
    arn = register()
    assert deliver(state_change(arn, PENDING)) == []
    assert state(arn) == (PENDING, "")
    assert decisions() == []


@pytest.mark.parametrize("status", ["Rejected", "Approved"])
def test_what_a_person_has_decided_meanwhile_stays(bars: Callable[..., None], status: str) -> None:
    arn = register(status=status)
    assert deliver(state_change(arn, PENDING)) == []
    assert state(arn)[0] == status
    assert decisions() == []


def test_a_message_that_comes_twice_changes_nothing(bars: Callable[..., None]) -> None:
    good = register()
    deliver(state_change(good, PENDING))
    bad = register({"challenger": {"accuracy": 0.1}})
    for arn in (good, bad, bad, good):
        assert deliver(state_change(arn, PENDING)) == []
    what = [one["what"] for one in decisions()]
    assert sorted(what) == ["approved automatically", "kept for a person"]


@pytest.mark.parametrize(
    ("evaluation", "statistics", "why"),
    [
        (None, None, "there is no s3://models/runs/x/evaluation/evaluation.json"),
        (b"{", None, "s3://models/runs/x/evaluation/evaluation.json cannot be read"),
        (GOOD, "", "it names no evaluation of ours"),
        (GOOD, "s3://elsewhere/statistics.json", "it names no evaluation of ours"),
    ],
)
def test_without_an_evaluation_of_ours_it_is_left_to_people(
    bars: Callable[..., None], evaluation: Any, statistics: str | None, why: str
) -> None:
    arn = register(evaluation, statistics)
    assert deliver(state_change(arn, PENDING)) == []
    assert state(arn) == (PENDING, "")
    assert [one["why"] for one in decisions()] == [why]


def test_events_of_others_are_ignored(bars: Callable[..., None]) -> None:
    arn = register()
    for body in (
        state_change(arn, PENDING, group="others"),
        state_change(arn, "Approved"),
        '{"source": "aws.s3"}',
    ):
        assert deliver(body) == []
    assert state(arn) == (PENDING, "")
    assert decisions() == []


@pytest.mark.parametrize("body", ["no JSON", state_change("a", PENDING).replace("Group", "Grp")])
def test_what_can_never_be_handled_is_a_dead_letter(bars: Callable[..., None], body: str) -> None:
    assert deliver(body) == []
    url = boto3.client("sqs").get_queue_url(QueueName="dead")["QueueUrl"]
    (letter,) = boto3.client("sqs").receive_message(QueueUrl=url)["Messages"]
    assert letter["Body"] == body


@pytest.mark.parametrize(
    ("call", "is_after"),
    [
        ("describe_model_package", True),
        ("update_model_package", False),
        ("update_model_package", True),
        ("put_json", False),
        ("put_json", True),
    ],
)
def test_dying_between_any_two_calls_it_approves_and_records_once(
    bars: Callable[..., None], monkeypatch: pytest.MonkeyPatch, call: str, is_after: bool
) -> None:
    arn = register()
    approver = approve._approver()[0]
    place: Any = objects if call == "put_json" else approver._sagemaker
    original = getattr(place, call)

    def dying(*positional: Any, **named: Any) -> None:
        if is_after:
            original(*positional, **named)
        raise DeadError

    with monkeypatch.context() as dies:
        dies.setattr(place, call, dying)
        with pytest.raises(DeadError):
            deliver(state_change(arn, PENDING))
    assert deliver(state_change(arn, PENDING)) == []
    assert state(arn)[0] == "Approved"
    (decision,) = decisions()
    assert decision["what"] == "approved automatically"
    assert state(arn)[1] == BEGINNING + decision["why"]


def test_a_refusal_by_aws_comes_again_and_leaves_no_record(
    bars: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    arn = register()

    def refuse(**_: object) -> None:
        raise client_error("ThrottlingException", 400)

    sagemaker = approve._approver()[0]._sagemaker
    with monkeypatch.context() as refused:
        refused.setattr(sagemaker, "update_model_package", refuse)
        assert deliver(state_change(arn, PENDING)) == ["1"]
        assert decisions() == []
    with monkeypatch.context() as refused:
        refused.setattr(sagemaker, "describe_model_package", refuse)
        assert deliver(state_change(arn, PENDING)) == ["1"]
    assert deliver(state_change(arn, PENDING)) == []
    assert len(decisions()) == 1


@pytest.mark.parametrize(
    ("challenger", "comparison", "is_approved"),
    [
        ({"accuracy": 0.9}, {"has_champion": False}, True),
        ({"accuracy": 0.9}, {"has_champion": True, "regression_high": 0.0}, True),
        ({"accuracy": 0.9}, {"has_champion": True, "regression_high": 0.001}, False),
        ({"accuracy": 0.8999}, {"has_champion": False}, False),
        ({"accuracy": 0.9}, {"has_champion": True}, False),
        ({"accuracy": 0.9}, {}, False),
        ({"accuracy": 0.9}, {"has_champion": None}, False),
        ({"accuracy": 0.9}, {"has_champion": True, "regression_high": float("nan")}, False),
        ({"accuracy": float("nan")}, {"has_champion": False}, False),
        ({"accuracy": True}, {"has_champion": False}, False),
        ({"accuracy": "0.99"}, {"has_champion": False}, False),
        ({}, {"has_champion": False}, False),
    ],
)
def test_only_figures_that_reach_the_bars_approve(
    challenger: Any, comparison: Any, is_approved: bool
) -> None:
    verdict = judge({"challenger": challenger, "comparison": comparison}, 0.9, 0.0)
    assert verdict.is_approved is is_approved
    assert len(verdict.why.splitlines()) == 1


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        (-0.0044, "it gains at least 0.0044 of accuracy on the champion"),
        (-0.0, "it may lose 0.0000 of accuracy against the champion"),
        (0.002, "it may lose 0.0020 of accuracy against the champion"),
        (0.01, "it may lose 0.0100 of accuracy against the champion, expected to lose at most"),
    ],
)
def test_the_end_of_the_interval_is_told_as_gain_or_loss(lost: float, said: str) -> None:
    comparison = {"has_champion": True, "regression_high": lost}
    verdict = judge({"challenger": {"accuracy": 0.9}, "comparison": comparison}, 0.9, 0.005)
    assert f"noise included {said}" in verdict.why


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(-2, 2) | st.just(float("nan")) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["accuracy", "has_champion", "regression_high"]), inner)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["challenger", "comparison", "champion"]), VALUES))
def test_whatever_an_evaluation_holds_only_proof_approves(evaluation: dict[str, Any]) -> None:
    if judge(evaluation, 0.5, 0.0).is_approved:
        assert evaluation["challenger"]["accuracy"] >= 0.5
        comparison = evaluation["comparison"]
        assert comparison["has_champion"] is False or comparison["regression_high"] <= 0
