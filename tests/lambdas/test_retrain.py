"""There is one training for each change, whoever asks for it and however often."""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from lambdas import messages, retrain
from lambdas.causes import Asked, Request, parse, parse_request
from lambdas.errors import RetrainError
from lambdas.events import Ignored, MalformedEventError
from lambdas.executions import MOST_COMPARED
from lambdas.retrain import Result
from tests.lambdas.eventbridge import alarm, created
from tests.lambdas.fakes import client_error
from tests.lambdas.training import DATA, QUIET, SETTINGS, Training, definition, table


@pytest.fixture
def training() -> Training:
    training = Training()
    training.put_both()
    return training


def ask(training: Training, cause: Any = "manual", **more: Any) -> Result:
    deadline = training.time + timedelta(minutes=15)
    return training.retrainer().run(Request(cause, **more), deadline)


def labelled(name: str) -> str:
    return created(f"labelled/{name}", bucket=DATA)


def deliver(training: Training, body: str) -> None:
    training.retrainer().handle(body, training.time + timedelta(minutes=15))


def started(training: Training) -> dict[str, str]:
    """The parameters of the only execution."""
    (execution,) = training.sagemaker.executions.values()
    parameters: dict[str, str] = execution["Parameters"]
    return parameters


# What is started.


def test_a_first_training_is_started_with_a_version_of_the_data(training: Training) -> None:
    result = ask(training, "push", commit="abc123-dirty", parameters={"Epochs": "3"})
    version = result["data_version"]
    (arn,) = training.sagemaker.executions
    assert result == {
        "outcome": "started",
        "execution": arn,
        "data_version": version,
        "manifest": f"s3://data/versions/{version}/manifest.json",
        "changes": [
            "first training: 1 file and 3 rows to train with, 1 file and 2 rows to test with"
        ],
        "previous": None,
        "previous_outcome": None,
    }
    assert training.versions() == [version]
    assert started(training) == {
        "TrainData": f"s3://data/versions/{version}/train/",
        "TestData": f"s3://data/versions/{version}/test/",
        "DataManifest": f"s3://data/versions/{version}/manifest.json",
        "CodeVersion": "abc123-dirty",
        "Cause": "push",
        "Epochs": "3",
    }
    token = training.sagemaker.executions[arn]["Token"]
    assert re.fullmatch("[0-9a-f]{64}", token)


def test_asked_again_it_names_the_one_that_runs_whatever_commit_and_cause(
    training: Training,
) -> None:
    first = ask(training, "push", commit="a")
    again = ask(training, "schedule", commit="b", again=True)
    assert (again["outcome"], again["execution"]) == ("running", first["execution"])


@pytest.mark.parametrize("is_rejected", [False, True])
def test_once_it_is_settled_there_is_nothing_to_do(training: Training, is_rejected: bool) -> None:
    arn = ask(training)["execution"]
    if is_rejected:
        training.end(arn, "Failed", "Train", "ModelRejected")
    else:
        training.end(arn)
    result = ask(training, "push", commit="b")
    assert (result["outcome"], result["execution"]) == ("unchanged", arn)
    assert result["changes"] == []
    assert result["previous"] == arn
    assert result["previous_outcome"] == ("Rejected" if is_rejected else "Succeeded")
    assert len(training.sagemaker.executions) == 1


@pytest.mark.parametrize("status", ["Failed", "Stopped", "Stopping"])
def test_what_failed_otherwise_is_started_again(training: Training, status: str) -> None:
    arn = ask(training)["execution"]
    training.end(arn, status, "Train")
    again = ask(training)
    assert again["outcome"] == "started"
    assert again["execution"] != arn
    assert (again["previous"], again["previous_outcome"]) == (arn, status)


def test_again_starts_though_nothing_changed(training: Training) -> None:
    arn = ask(training)["execution"]
    training.end(arn)
    again = ask(training, again=True)
    assert (again["outcome"], again["changes"]) == ("started", [])
    training.end(again["execution"])
    assert ask(training, again=True)["execution"] not in (arn, again["execution"])


def test_changes_are_told_against_the_newest_that_was_settled(training: Training) -> None:
    settled = ask(training)["execution"]
    training.end(settled)
    training.put("train/b.csv", table(1200))
    broken = ask(training)["execution"]
    training.end(broken, "Failed", "Validate")
    training.sagemaker.definition = definition("two")
    result = ask(training, parameters={"MinAccuracy": "0.9"})
    assert result["previous"] == settled
    assert result["changes"] == [
        "data: 1 file and 1,200 rows more",
        "Train: image gluon-cpu:one → gluon-cpu:two",
        "Register: image gluon-cpu:one → gluon-cpu:two",
        "parameter MinAccuracy: 0.8 → 0.9",
    ]


@pytest.mark.parametrize("is_rejected", [False, True])
def test_what_an_older_execution_has_settled_is_not_trained_again(
    training: Training, is_rejected: bool
) -> None:
    arn = ask(training)["execution"]
    steps = ("ModelRejected",) if is_rejected else ()
    training.end(arn, "Failed" if is_rejected else "Succeeded", *steps)
    training.end(ask(training, parameters={"Epochs": "3"})["execution"])
    result = ask(training, "schedule")
    assert (result["outcome"], result["execution"], result["previous"]) == ("unchanged", arn, arn)
    assert result["previous_outcome"] == ("Rejected" if is_rejected else "Succeeded")
    assert result["changes"] == ["parameter Epochs: 3 → 20"]
    assert len(training.sagemaker.executions) == 2
    assert ask(training, again=True)["outcome"] == "started"


def test_data_that_is_as_it_was_before_is_not_trained_again(training: Training) -> None:
    arn = ask(training)["execution"]
    training.end(arn)
    training.put("train/b.csv", table(1))
    training.end(ask(training)["execution"])
    training.remove("train/b.csv")
    result = ask(training)
    assert (result["outcome"], result["execution"]) == ("unchanged", arn)
    assert result["changes"] == ["data: 1 file and 1 row fewer"]


@pytest.mark.parametrize("status", ["Failed", "Stopped"])
def test_an_older_execution_that_settled_nothing_is_no_answer(
    training: Training, status: str
) -> None:
    training.end(ask(training)["execution"], status, "Train")
    training.end(ask(training, parameters={"Epochs": "3"})["execution"])
    assert ask(training)["outcome"] == "started"


def test_older_executions_of_other_data_cost_one_request_each_and_only_so_many(
    training: Training,
) -> None:
    training.end(ask(training)["execution"])
    for number in range(MOST_COMPARED):
        training.put("train/b.csv", table(number + 1))
        training.end(ask(training)["execution"])
    training.remove("train/b.csv")
    requests: Counter[str] = Counter()

    def counted(name: str, effect: Callable[[], Any]) -> Any:
        requests[name] += 1
        return effect()

    training.call = counted
    assert ask(training, commit="abc")["outcome"] == "started", "it lies too far back"
    assert requests["describe_definition"] == 1, "of the newest, to tell the changes"
    assert requests["list_pipeline_parameters_for_execution"] <= MOST_COMPARED + 2


def test_an_execution_that_was_started_by_hand_with_other_data_counts(training: Training) -> None:
    training.sagemaker.start_pipeline_execution("claims", [], "by hand")
    training.end(*training.sagemaker.executions)
    result = ask(training)
    version = f"version {result['data_version']}"
    assert result["changes"] == [
        f"data: data/train.csv → {version}",
        f"test data: data/test.csv → {version}",
    ]


def test_an_older_execution_that_still_runs_is_found(training: Training) -> None:
    older = ask(training)["execution"]
    training.put("train/b.csv", table(1))
    training.end(ask(training)["execution"])
    training.remove("train/b.csv")
    result = ask(training)
    assert (result["outcome"], result["execution"]) == ("running", older)


def test_without_a_commit_it_is_that_of_the_newest_execution_that_has_one(
    training: Training,
) -> None:
    training.end(ask(training, "push", commit="abc")["execution"])
    for number in range(2):
        training.put("train/b.csv", table(number + 1))
        arn = ask(training, "schedule")["execution"]
        assert training.sagemaker.executions[arn]["Parameters"]["CodeVersion"] == "abc"
        training.end(arn)


# What people can mend.


@pytest.mark.parametrize(
    ("change", "more", "message"),
    [
        (None, {}, "there is no pipeline claims yet; create it with `claimflow pipeline upsert`"),
        ("Cause", {}, "has no parameter Cause: it is older than what starts it; .*upsert"),
        ("", {"Epoch": "3"}, "no parameter Epoch; it has MinAccuracy, Epochs$"),
        ("", {"TrainData": "s3://x"}, "TrainData cannot be given"),
        ("", {"ApprovalStatus": "Approved"}, "ApprovalStatus cannot be given.*model approve"),
    ],
)
def test_what_cannot_be_started_is_told_in_one_line(
    training: Training, change: str | None, more: dict[str, str], message: str
) -> None:
    document = training.sagemaker.definition
    assert document is not None
    document["Parameters"] = [one for one in document["Parameters"] if one["Name"] != change]
    training.sagemaker.definition = None if change is None else document
    with pytest.raises(RetrainError, match=message) as caught:
        ask(training, parameters=more)
    assert "\n" not in str(caught.value)


def test_what_the_service_refuses_is_told_in_its_words(
    training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise client_error("ValidationException", 400)

    monkeypatch.setattr(training.sagemaker, "start_pipeline_execution", refuse)
    with pytest.raises(RetrainError, match="cannot be started: ValidationException"):
        ask(training)


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"cause": "whim"},
        {"cause": ["push"]},
        {"cause": "push", "commit": "a b"},
        {"cause": "push", "commit": 7},
        {"cause": "push", "parameters": {"Epochs": 3}},
        {"cause": "push", "parameters": ["Epochs"]},
        {"cause": "push", "again": "no"},
        {"cause": "push", "branch": "main"},
    ],
)
def test_a_request_that_is_none_is_refused(event: dict[str, Any]) -> None:
    with pytest.raises(RetrainError):
        parse_request(event)


def test_members_of_a_request_may_be_left_out_or_null() -> None:
    nothing = {"commit": None, "parameters": None, "again": None}
    assert parse_request({"cause": "schedule", **nothing}) == Request("schedule")
    given = {"cause": "push", "commit": "a1", "parameters": {"Seed": "1"}, "again": True}
    assert parse_request(given) == Request("push", "a1", {"Seed": "1"}, True)


# Two at a time.


def test_two_that_ask_at_the_same_moment_get_the_same_execution(training: Training) -> None:
    other: list[Result] = []

    def suspended(name: str, effect: Callable[[], Any]) -> Any:
        if name == "start_pipeline_execution" and not other:
            other.append(training.quietly(lambda: ask(training, "push", commit="b")))
        return effect()

    training.call = suspended
    mine = ask(training, "data")
    assert other[0]["execution"] == mine["execution"]
    assert len(training.sagemaker.executions) == 1


def test_a_token_that_is_taken_by_another_commit_leads_to_that_execution(
    training: Training,
) -> None:
    """Should the service compare parameters too: AWS does not say whether it does."""
    other: list[Result] = []

    def conflicting(name: str, effect: Callable[[], Any]) -> Any:
        if name == "start_pipeline_execution":
            other.append(training.quietly(lambda: ask(training, "push", commit="b")))
            raise client_error("ConflictException", 409)
        return effect()

    training.call = conflicting
    mine = ask(training, "data")
    assert (mine["outcome"], mine["execution"]) == ("started", other[0]["execution"])


def test_a_conflict_without_such_an_execution_is_a_failure(training: Training) -> None:
    def conflicting(name: str, effect: Callable[[], Any]) -> Any:
        if name == "start_pipeline_execution":
            raise client_error("ConflictException", 409)
        return effect()

    training.call = conflicting
    with pytest.raises(ClientError, match="ConflictException"):
        ask(training)


# What comes by the queue.


def test_of_a_burst_of_uploads_only_the_last_starts_and_with_all(training: Training) -> None:
    for number in range(5):
        training.put(f"train/{number}.csv", table(number))
        training.time += timedelta(seconds=60)
    late = QUIET - timedelta(seconds=60)
    training.time += late - timedelta(seconds=4 * 60)
    for number in range(5):  # each comes as long after its upload as the queue delays it
        deliver(training, labelled(f"train/{number}.csv"))
        expected = 1 if number == 4 else 0
        assert len(training.sagemaker.executions) == expected
        training.time += timedelta(seconds=61)
    manifest = training.document(started(training)["DataManifest"].removeprefix("s3://data/"))
    assert len(manifest["train"]) == 6
    assert started(training)["Cause"] == "data"
    deliver(training, labelled("train/4.csv"))
    assert len(training.sagemaker.executions) == 1


def test_an_upload_whose_time_s3_tells_a_little_late_is_not_lost(training: Training) -> None:
    training.time += QUIET - timedelta(seconds=2)
    deliver(training, labelled("test/t.csv"))
    assert len(training.sagemaker.executions) == 1


def test_drift_trains_on_what_is_new(training: Training) -> None:
    training.time += QUIET
    deliver(training, alarm("claimflow-dev-prediction-drift"))
    assert started(training)["Cause"] == "drift"
    assert training.sns.published == []


def test_drift_is_not_put_off_by_files_whose_messages_may_never_come(training: Training) -> None:
    deliver(training, alarm("claimflow-dev-prediction-drift"))
    assert started(training)["Cause"] == "drift"


def test_drift_without_anything_new_asks_people_for_labels(training: Training) -> None:
    training.time += QUIET
    deliver(training, alarm("claimflow-dev-prediction-drift"))
    deliver(training, alarm("claimflow-dev-prediction-drift"))
    assert training.sns.published == [], "one runs"
    training.end(*training.sagemaker.executions)
    deliver(training, alarm("claimflow-dev-prediction-drift"))
    (message,) = training.sns.published
    assert message["TopicArn"] == "topic"
    assert message["Subject"] == "Fresh labels are needed"
    for words in ("labelled by people", "claimflow data add FILE", "s3://data/labelled/train/"):
        assert words in message["Message"]
    assert "claimflow-dev-prediction-drift" in message["Message"]


def test_what_lacks_something_is_told_to_people_and_is_no_dead_letter(training: Training) -> None:
    training.remove("test/t.csv")
    training.time += QUIET
    deliver(training, labelled("train/a.csv"))
    (message,) = training.sns.published
    assert message["Subject"] == "No training was started"
    assert "claimflow data add FILE --test" in message["Message"]


def test_nothing_labelled_at_all_is_no_failure_either(training: Training) -> None:
    training.remove("test/t.csv")
    training.remove("train/a.csv")
    deliver(training, labelled("train/a.csv"))
    assert len(training.sns.published) == 1


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (labelled("train/a.csv"), Asked("data", "labelled/train/a.csv")),
        (labelled("test/x/a.csv"), Asked("data", "labelled/test/x/a.csv")),
        (labelled("train/"), None),
        (labelled("other/a.csv"), None),
        (created("versions/0/train/a.csv", bucket=DATA), None),
        (created("labelled/train/a.csv"), None),
        (alarm("drift"), Asked("drift", "drift")),
        (alarm("drift", "OK"), None),
        ('{"source": "aws.ec2"}', None),
    ],
)
def test_only_labelled_files_and_the_alarm_ask_for_a_training(
    body: str, expected: Asked | None
) -> None:
    found = parse(body, SETTINGS)
    assert found == expected if expected else isinstance(found, Ignored)


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(
                st.sampled_from(["detail", "bucket", "object", "state", "name", "key", "value"]),
                inner,
            )
        ),
        max_leaves=10,
    ),
    st.sampled_from(
        [
            ("aws.s3", "Object Created"),
            ("aws.cloudwatch", "CloudWatch Alarm State Change"),
        ]
    ),
)
def test_whatever_comes_is_read_or_refused_by_name(detail: Any, kind: tuple[str, str]) -> None:
    body = json.dumps({"source": kind[0], "detail-type": kind[1], "detail": detail})
    try:
        assert isinstance(parse(body, SETTINGS), (Asked, Ignored))
    except MalformedEventError as error:
        assert kind[1] in str(error)


# With AWS's own client.


class Context:
    def get_remaining_time_in_millis(self) -> int:
        return 900_000


def test_the_handler_answers_requests_and_messages(
    aws: None, monkeypatch: pytest.MonkeyPatch, training: Training
) -> None:
    s3 = boto3.client("s3")
    place: Any = {"LocationConstraint": "eu-west-1"}
    s3.create_bucket(Bucket=DATA, CreateBucketConfiguration=place)
    versioning: Any = {"Status": "Enabled"}
    s3.put_bucket_versioning(Bucket=DATA, VersioningConfiguration=versioning)
    for name in ("train/a b.csv", "test/ü.csv"):
        s3.put_object(Bucket=DATA, Key=f"labelled/{name}", Body=io.BytesIO(table(4)))
    dead = boto3.client("sqs").create_queue(QueueName="dead")["QueueUrl"]
    for name, value in {
        "PIPELINE_NAME": "claims",
        "DATA_BUCKET": DATA,
        "QUIET_SECONDS": "0",
        "TOPIC_ARN": "topic",
        "DEAD_LETTER_QUEUE_URL": dead,
        "MAX_RECEIVES": "3",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(retrain.clients, "sagemaker", lambda: training.sagemaker)
    retrain._retrainer.cache_clear()
    try:
        result: Any = retrain.handler({"cause": "schedule"}, Context())
        bodies = [labelled("train/a b.csv"), "no JSON"]
        records = [
            {"messageId": str(number), "body": body, "attributes": {}}
            for number, body in enumerate(bodies)
        ]
        answer: Any = retrain.handler({"Records": records}, Context())
    finally:
        retrain._retrainer.cache_clear()
    assert result["outcome"] == "started"
    assert answer == {"batchItemFailures": []}
    (letter,) = boto3.client("sqs").receive_message(QueueUrl=dead)["Messages"]
    assert letter["Body"] == "no JSON"
    listed = s3.list_objects_v2(Bucket=DATA, Prefix=f"versions/{result['data_version']}/")
    names = [one["Key"].rpartition("/")[2] for one in listed["Contents"]]
    assert names == ["manifest.json", "plan.json", "0001-_.csv", "0001-a_b.csv"]
    assert json.loads(json.dumps(result)) == result


def test_a_failure_of_aws_comes_again(training: Training) -> None:
    def throttled(name: str, effect: Callable[[], Any]) -> Any:
        if name == "list_pipeline_executions":
            raise client_error("ThrottlingException", 400)
        return effect()

    training.time += QUIET
    training.call = throttled
    message = {
        "messageId": "1",
        "body": labelled("train/a.csv"),
        "attributes": {"ApproximateReceiveCount": "1"},
    }
    dead: Any = messages.DeadLetters(None, "dead", 3)  # type: ignore[arg-type]
    retrainer = training.retrainer()
    answer = messages.handle_batch({"Records": [message]}, Context(), retrainer, dead)
    assert answer["batchItemFailures"] == [{"itemIdentifier": "1"}]
    training.call = lambda _name, effect: effect()
    answer = messages.handle_batch({"Records": [message]}, Context(), retrainer, dead)
    assert answer["batchItemFailures"] == []
    assert len(training.sagemaker.executions) == 1
