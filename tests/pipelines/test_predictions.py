"""`claimflow predictions`: what people see of their uploads, and what they can do about them."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import boto3
import pytest
from click.testing import CliRunner, Result

from lambdas import layout
from lambdas.events import Retry, Upload, parse
from lambdas.settings import SubmitSettings
from pipelines.cli.predictions import Window, command
from pipelines.errors import UserError
from pipelines.retries import Retries
from pipelines.upload_state import _running
from tests.pipelines.deployment import SETTINGS, Deployment

SUBMIT = SubmitSettings(
    model_package_group=SETTINGS.model_package_group,
    models_bucket=SETTINGS.bucket("models"),
    upload_bucket=SETTINGS.bucket("predictions"),
    results_bucket=SETTINGS.bucket("results"),
    job_queue="queue",
    job_definition="definition",
    dead_letter_queue_url="url",
    max_receives=3,
)
NOTICE = {"source": "aws.batch", "detail-type": "Batch Job State Change", "detail": {}}


def run(*arguments: str) -> Result:
    done = CliRunner().invoke(command, list(arguments))
    assert done.exception is None or isinstance(done.exception, (SystemExit, UserError))
    return done


def failed_upload(deployment: Deployment, name: str = "claims.csv", attempt: int = 1) -> str:
    upload = deployment.upload(name)
    prefix = deployment.record(upload, deployment.submit("SUCCEEDED"), attempt=attempt)
    deployment.settle(upload, prefix, reason=f"{name}: the file is empty")
    return upload


def bury(deployment: Deployment, body: Any, **attributes: str) -> None:
    """Puts a message into the dead-letter queue as the functions do."""
    deployment.sqs.send_message(
        QueueUrl=deployment.queues[SETTINGS.dead_letter_queue],
        MessageBody=body if isinstance(body, str) else json.dumps(body),
        MessageAttributes={
            name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
        },
    )


def announced(key: str, bucket: str = SETTINGS.bucket("predictions")) -> dict[str, Any]:
    found = {"key": key, "etag": "e", "version-id": "v", "size": 3}
    detail = {"bucket": {"name": bucket}, "object": found}
    return {"source": "aws.s3", "detail-type": "Object Created", "detail": detail}


def test_the_list_tells_state_and_reason_of_each_upload(deployment: Deployment) -> None:
    failed_upload(deployment, "bad.csv")
    upload = deployment.upload("good.csv")
    deployment.settle(upload, deployment.record(upload, deployment.submit("SUCCEEDED")))
    deployment.upload("new.csv")
    lines = run("list").output.splitlines()
    assert any("bad.csv  failed: bad.csv: the file is empty" in line for line in lines)
    assert any("good.csv  predicted: 10 rows, 3 for review, 2 rejected" in line for line in lines)
    assert any("new.csv  not handled yet" in line for line in lines)
    assert "predictions retry --all" in lines[-1]
    listed = json.loads(run("list", "--json").output)
    assert {one["state"] for one in listed} == {"failed", "predicted", "unhandled"}


def test_the_list_says_that_there_is_more(deployment: Deployment) -> None:
    for number in range(3):
        deployment.upload(f"{number}.csv")
    assert "more: --limit 4" in run("list", "--limit", "2").output
    assert "more" not in run("list", "--limit", "3").output
    assert "no upload in this time" in run("list", "--since", "0m").output


def test_a_name_cannot_steer_the_terminal(deployment: Deployment) -> None:
    deployment.upload("x\x1b]0;owned\x07.csv")
    assert "\x1b" not in run("list").output


def test_an_upload_is_shown_in_words(deployment: Deployment) -> None:
    upload = deployment.upload()
    prefix = deployment.record(upload, deployment.submit("SUCCEEDED"), attempt=2, shards=4)
    deployment.settle(upload, prefix)
    shown = run("show", "claims.csv").output
    for told in (
        upload,
        "predicted",
        "version 3",
        "attempt 2, 4 shares",
        "12 in: 10 predicted (3 for a person to look at), 2 rejected, in 1.5 s",
        "fire 70.0%, water 30.0%",
        f"s3://{SETTINGS.bucket('results')}/{prefix}report.html",
    ):
        assert told in shown
    document = json.loads(run("show", upload, "--json").output)
    assert document["manifest"]["predicted"] == 10


def test_the_shares_of_an_array_are_counted() -> None:
    shares = {"size": 8, "statusSummary": {"SUCCEEDED": 3}}
    job = {"status": "PENDING", "arrayProperties": shares}
    assert _running({"job_id": "j"}, job) == ("running", "Batch job pending, 3 of 8 shares done")


def test_a_failed_upload_is_retried_with_a_message_that_the_function_takes(
    deployment: Deployment,
) -> None:
    upload = failed_upload(deployment, attempt=2)
    done = run("retry", "claims.csv")
    assert done.exit_code == 0
    assert (
        "sent again: incoming/claims.csv (it failed: claims.csv: the file is empty)" in done.output
    )
    (message,) = deployment.messages(SETTINGS.upload_queue)
    assert parse(message["Body"], SUBMIT) == [Retry(upload, 2)]


@pytest.mark.parametrize("name", ["claims.csv", "a b+c%20ü.csv"])
def test_an_upload_that_was_not_handled_is_announced_again_if_it_is_named(
    deployment: Deployment, name: str
) -> None:
    upload = deployment.upload(name)
    assert "would be announced again" in run("retry", name, "--dry-run").output
    assert "nothing failed" in run("retry", "--all").output
    assert deployment.messages(SETTINGS.upload_queue) == []
    done = run("retry", name)
    assert done.exit_code == 0
    assert f"announced again: incoming/{name}" in done.output
    (message,) = deployment.messages(SETTINGS.upload_queue)
    (event,) = parse(message["Body"], SUBMIT)
    assert isinstance(event, Upload)
    assert (event.id, event.size) == (upload, 7)


def test_letters_are_discarded_and_nothing_else_happens(deployment: Deployment) -> None:
    failed_upload(deployment)
    ours = deployment.upload("ours.csv")
    bury(deployment, "not json", Reason="MalformedEventError: \x1b[31m", Source="elsewhere")
    bury(deployment, announced("incoming/ours.csv"), Reason="r", UploadId=ours)
    assert "would be discarded" in run("retry", "--all", "--discard", "--dry-run").output
    done = run("retry", "ours.csv", "--discard")
    assert done.output == "discarded: Object Created incoming/ours.csv: r\n"
    done = run("retry", "--all", "--discard")
    assert "discarded: not an event: MalformedEventError" in done.output
    assert "\x1b" not in done.output
    assert "there is no dead letter" in run("retry", "--all", "--discard").output
    for queue in (SETTINGS.upload_queue, SETTINGS.dead_letter_queue):
        assert deployment.messages(queue) == []


def test_a_listing_that_is_not_complete_says_so_beside_the_output(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.csv", "b.csv", "may/c.csv"):
        deployment.upload(name)
    monkeypatch.setattr("pipelines.uploads.MOST_LISTED", 2)
    for arguments in (["list", "--json"], ["retry", "--dry-run"]):
        done = run(*arguments)
        assert "only the first 2 by name were looked at; --folder says which" in done.stderr
        assert "looked at" not in done.stdout
        assert "looked at" not in run(*arguments, "--folder", "may/").stderr


def test_a_reason_cannot_steer_the_terminal(deployment: Deployment) -> None:
    upload = deployment.upload("x.csv")
    prefix = deployment.record(upload, deployment.submit("SUCCEEDED"))
    deployment.settle(upload, prefix, reason="no column 'text', but \x1b[31mred")
    for arguments in (["list"], ["show", "x.csv"], ["retry", "x.csv"], ["retry", "--dry-run"]):
        assert "but \N{REPLACEMENT CHARACTER}[31mred" in run(*arguments).output


def test_what_has_not_failed_is_not_retried(deployment: Deployment) -> None:
    upload = deployment.upload()
    deployment.settle(upload, deployment.record(upload, deployment.submit("SUCCEEDED")))
    done = run("retry", upload)
    assert done.exit_code == 1
    assert "is predicted: nothing to retry" in done.output
    assert deployment.messages(SETTINGS.upload_queue) == []


def test_all_retries_every_failed_upload_and_sends_every_letter_to_its_queue(
    deployment: Deployment,
) -> None:
    ids = {failed_upload(deployment, f"{number}.csv") for number in range(2)}
    deployment.upload("untouched.csv")
    lost = announced("incoming/lost.csv")
    bury(deployment, lost, Reason="ThrottlingException: slow down", Source=SETTINGS.upload_queue)
    bury(deployment, NOTICE, Reason="NotFound: no topic", Source=SETTINGS.notice_queue)
    others = {
        SETTINGS.labelled_queue: announced("labelled/train/a.csv", SETTINGS.bucket("data")),
        SETTINGS.registered_queue: {"source": "aws.sagemaker", "detail": {}},
    }
    for queue, body in others.items():
        bury(deployment, body, Reason="AccessDenied: no", Source=queue)
    done = run("retry", "--all")
    assert done.exit_code == 0
    assert (
        f"sent back to {SETTINGS.upload_queue}: Object Created incoming/lost.csv: "
        "ThrottlingException: slow down" in done.output
    )
    sent = [one["Document"] for one in deployment.messages(SETTINGS.upload_queue)]
    assert lost in sent
    assert {one["detail"]["upload_id"] for one in sent if one != lost} == ids
    for queue, body in {SETTINGS.notice_queue: NOTICE, **others}.items():
        assert [one["Document"] for one in deployment.messages(queue)] == [body]
    assert deployment.messages(SETTINGS.dead_letter_queue) == []


@pytest.mark.parametrize("arguments", [["--dry-run"], ["--all", "--dry-run"]], ids=" ".join)
def test_a_dry_run_shows_the_same_and_does_nothing(
    deployment: Deployment, arguments: list[str]
) -> None:
    failed_upload(deployment)
    bury(deployment, announced("incoming/x.csv"), Reason="r", Source=SETTINGS.upload_queue)
    done = run("retry", *arguments)
    assert "would be sent again: incoming/claims.csv" in done.output
    assert f"would be sent back to {SETTINGS.upload_queue}" in done.output
    assert deployment.messages(SETTINGS.upload_queue) == []
    assert len(deployment.messages(SETTINGS.dead_letter_queue)) == 1, "to be seen at once"


def test_a_named_upload_takes_only_its_own_letters_along(deployment: Deployment) -> None:
    upload = deployment.upload()
    source = {"Source": SETTINGS.upload_queue, "Reason": "r"}
    bury(deployment, announced("incoming/claims.csv"), UploadId=upload, **source)
    bury(deployment, announced("incoming/other.csv"), UploadId="f" * 32, **source)
    done = run("retry", upload)
    assert done.exit_code == 0
    (sent,) = deployment.messages(SETTINGS.upload_queue)
    assert sent["Document"]["detail"]["object"]["key"] == "incoming/claims.csv"
    assert len(deployment.messages(SETTINGS.dead_letter_queue)) == 1


@pytest.mark.parametrize(
    ("body", "queue"),
    [
        (announced("incoming/x.csv"), SETTINGS.upload_queue),
        (announced("results/x/manifest.json", SETTINGS.bucket("results")), SETTINGS.notice_queue),
        (NOTICE, SETTINGS.notice_queue),
        ({"source": "aws.sagemaker", "detail-type": "x"}, SETTINGS.upload_queue),
    ],
)
def test_a_letter_that_sqs_moved_goes_where_its_kind_belongs(
    deployment: Deployment, body: Any, queue: str
) -> None:
    bury(deployment, body)
    done = run("retry", "--all")
    assert "its function crashed or ran out of time" in done.output
    assert [one["Document"] for one in deployment.messages(queue)] == [body]


def test_a_letter_says_by_sqs_itself_where_it_came_from(deployment: Deployment) -> None:
    dead = deployment.queues[SETTINGS.dead_letter_queue]
    arn = deployment.sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])
    policy = {"deadLetterTargetArn": arn["Attributes"]["QueueArn"], "maxReceiveCount": 1}
    url = deployment.queues[SETTINGS.notice_queue]
    deployment.sqs.set_queue_attributes(
        QueueUrl=url, Attributes={"RedrivePolicy": json.dumps(policy)}
    )
    deployment.sqs.send_message(QueueUrl=url, MessageBody="{}")
    for _ in range(2):
        deployment.sqs.receive_message(QueueUrl=url, VisibilityTimeout=0)
    (letter,) = Retries(deployment.aws).dead_letters()
    assert letter.queue in {SETTINGS.notice_queue, ""}, "moto does not tell it, AWS does"


@pytest.mark.parametrize("body", ["not json", "[]", "{}", '{"detail": {"object": 3}}'])
@pytest.mark.parametrize("source", [None, "somebody-elses-queue"])
def test_a_letter_of_no_known_queue_stays(
    deployment: Deployment, body: str, source: str | None
) -> None:
    bury(deployment, body, **({"Source": source} if source else {}))
    done = run("retry", "--all")
    assert "nothing tells its queue" in done.output
    left = boto3.client("sqs").receive_message(
        QueueUrl=deployment.queues[SETTINGS.dead_letter_queue]
    )
    assert [one["Body"] for one in left["Messages"]] == [body]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["retry"], "--dry-run shows"), (["retry", "x.csv", "--all"], "not both")],
)
def test_retry_wants_to_know_what(arguments: list[str], said: str) -> None:
    assert said in str(CliRunner().invoke(command, arguments).exception)


def test_nothing_to_retry_is_said(deployment: Deployment) -> None:
    assert "nothing failed in this time" in run("retry", "--all").output


@pytest.mark.parametrize(("given", "hours"), [("90m", 1.5), ("12h", 12), ("7d", 168), ("2W", 336)])
def test_a_window_is_a_number_and_a_unit(given: str, hours: float) -> None:
    start = Window().convert(given, None, None)
    assert (datetime.now(timezone.utc) - start).total_seconds() == pytest.approx(
        hours * 3600, abs=10
    )


@pytest.mark.parametrize("given", ["7", "d", "-1d", "7 days", "99999d", ""])
def test_another_window_is_wrong_use(given: str) -> None:
    done = CliRunner().invoke(command, ["list", "--since", given])
    assert done.exit_code == 2
    assert "such as 7d" in done.output


@pytest.mark.parametrize("name", [None, "list", "show", "retry", "drift"])
def test_every_help_text_has_an_example(name: str | None) -> None:
    shown = CliRunner().invoke(command, [*filter(None, [name]), "--help"])
    assert shown.exit_code == 0
    assert "Example:" in shown.output


def test_commands_and_functions_agree_on_where_results_lie() -> None:
    assert layout.submission_key("x") == "submissions/x.json"
    assert layout.waiting_key("x") == "waiting/x.json"
    assert layout.RESULTS + "n/" + layout.MANIFEST == "results/n/manifest.json"
