"""What became of uploads: their states, and how they are found."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from lambdas import layout
from pipelines.errors import UserError
from pipelines.upload_state import _failure
from pipelines.uploads import Uploads
from tests.pipelines.deployment import SETTINGS, Deployment

LONG_AGO = datetime(2020, 1, 1, tzinfo=timezone.utc)


def state(deployment: Deployment, upload: str) -> str:
    uploads = Uploads(deployment.aws)
    return uploads.state(uploads.find(upload)).words


def test_an_upload_that_nobody_has_seen_is_not_handled_yet(deployment: Deployment) -> None:
    assert state(deployment, deployment.upload()) == "not handled yet"


def test_an_upload_with_a_marker_waits_for_a_model(deployment: Deployment) -> None:
    upload = deployment.upload()
    marker = {"bucket": SETTINGS.bucket("predictions"), "key": "incoming/claims.csv"}
    deployment.put("results", layout.waiting_key(upload), {**marker, "version": "", "etag": "e"})
    assert state(deployment, "claims.csv") == "waiting for a model"


def test_a_claim_without_a_job_is_running(deployment: Deployment) -> None:
    upload = deployment.upload()
    deployment.record(upload)
    assert state(deployment, upload) == "running: claimed by the trigger"


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("RUNNABLE", "running: Batch job runnable"),
        ("RUNNING", "running: Batch job running"),
        ("SUCCEEDED", "running: Batch job succeeded"),  # its manifest is about to be seen
    ],
)
def test_a_job_without_a_result_is_running(deployment: Deployment, status: str, said: str) -> None:
    upload = deployment.upload()
    deployment.record(upload, deployment.submit(status))
    assert state(deployment, upload) == said


def test_a_job_that_failed_without_a_result_tells_batchs_reason(deployment: Deployment) -> None:
    upload = deployment.upload()
    job = deployment.submit("FAILED", "Host EC2 (instance i-1) terminated.")
    deployment.record(upload, job)
    said = state(deployment, upload)
    assert said.startswith(f"failed: Batch job {job} failed: Host EC2 (instance i-1) terminated.")


@pytest.mark.parametrize(
    ("container", "group"),
    [({}, "/aws/batch/job"), ({"options": {"awslogs-group": "/aws/batch/x"}}, "/aws/batch/x")],
)
def test_the_log_of_a_failed_job_is_named_as_its_definition_has_it(
    container: dict[str, Any], group: str
) -> None:
    told = _failure(
        {"jobId": "1", "container": {"logStreamName": "s/1", "logConfiguration": container}}
    )
    assert f"--log-group-name {group} --log-stream-name s/1" in told


@pytest.mark.parametrize(("days", "said"), [(0, "running: submitted"), (9, "failed: its job left")])
def test_a_job_that_batch_does_not_know_has_failed_after_some_days(
    deployment: Deployment, days: int, said: str
) -> None:
    upload = deployment.upload()
    submitted = (datetime.now(timezone.utc) - timedelta(days=days)).isoformat()
    deployment.record(upload, "a-job-of-long-ago", submitted_at=submitted)
    deployment.submit("RUNNING")  # so that there is a queue
    assert state(deployment, upload).startswith(said)


def test_a_manifest_decides_whatever_the_job_says(deployment: Deployment) -> None:
    upload = deployment.upload()
    prefix = deployment.record(upload, deployment.submit("FAILED", "killed after it had written"))
    deployment.settle(upload, prefix)
    assert state(deployment, upload) == "predicted"


def test_of_several_attempts_the_newest_counts(deployment: Deployment) -> None:
    upload = deployment.upload()
    prefix = deployment.record(upload, deployment.submit("SUCCEEDED"))
    deployment.settle(upload, prefix, reason="claims.csv: the file is empty")
    assert state(deployment, upload) == "failed: claims.csv: the file is empty"
    second = layout.prefix_of_attempt(prefix, 2)
    deployment.record(upload, deployment.submit("RUNNING"), attempt=2, results_prefix=second)
    assert state(deployment, upload) == "running: Batch job running"
    deployment.settle(upload, second)
    found = Uploads(deployment.aws).recent(LONG_AGO).states
    assert [(one.state, one.attempt) for one in found] == [("predicted", 2)]


def test_uploads_are_listed_newest_first_each_version_by_itself(deployment: Deployment) -> None:
    made = [deployment.upload(body=b"text\n%d\n" % number) for number in range(3)]
    deployment.s3.put_object(Bucket=SETTINGS.bucket("predictions"), Key="incoming/folder/")
    deployment.s3.put_object(Bucket=SETTINGS.bucket("predictions"), Key="elsewhere.csv", Body=b"x")
    uploads = Uploads(deployment.aws)
    assert {one.upload.id for one in uploads.recent(LONG_AGO).states} == set(made)
    times = [one.upload.uploaded_at for one in uploads.recent(LONG_AGO).states]
    assert times == sorted(times, reverse=True)  # type: ignore[type-var]
    assert len(uploads.recent(LONG_AGO, 2).states) == 2
    assert uploads.recent(datetime.now(timezone.utc) + timedelta(days=1)).states == []


def test_a_listing_looks_at_so_many_and_says_that_there_are_more(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.csv", "b.csv", "may/c.csv"):
        deployment.upload(name)
    monkeypatch.setattr("pipelines.uploads.MOST_LISTED", 2)
    uploads = Uploads(deployment.aws)
    recent = uploads.recent(LONG_AGO)
    assert {one.upload.key for one in recent.states} == {"incoming/a.csv", "incoming/b.csv"}
    assert not recent.complete
    for folder in ("may/", "incoming/may/"):
        recent = uploads.recent(LONG_AGO, folder=folder)
        assert [one.upload.key for one in recent.states] == ["incoming/may/c.csv"]
        assert recent.complete


@pytest.mark.parametrize("damaged", [b"", b"not JSON", b"[]", b"{}", b'{"job_id": "j"}'])
@pytest.mark.parametrize("what", ["record", "manifest"])
def test_what_is_damaged_is_named_and_hides_no_other_upload(
    deployment: Deployment, damaged: bytes, what: str
) -> None:
    upload = deployment.upload("bad.csv")
    deployment.upload("good.csv")
    key = layout.submission_key(upload)
    if what == "manifest":
        key = deployment.record(upload) + layout.MANIFEST
    deployment.put("results", key, damaged)
    found = {one.upload.key: one for one in Uploads(deployment.aws).recent(LONG_AGO).states}
    assert found["incoming/good.csv"].state == "unhandled"
    assert found["incoming/bad.csv"].state == "unreadable"
    assert f"{key} is damaged: restore" in found["incoming/bad.csv"].reason


def test_a_manifest_without_its_counts_is_damaged(deployment: Deployment) -> None:
    upload = deployment.upload()
    deployment.put("results", deployment.record(upload) + layout.MANIFEST, {"outcome": "succeeded"})
    assert state(deployment, upload).startswith("unreadable: s3://")


@pytest.mark.parametrize("name", ["a b+c%20ü.csv", "2026/11/x.csv", "/x.csv"])
@pytest.mark.parametrize(
    "form",
    [
        "{id}",
        "{name}",
        "incoming/{name}",
        "s3://{uploads}/incoming/{name}",
        "s3://{results}/results/{name}/{id}/report.html",
        "s3://{results}/results/{name}/{id}/retry-2/predictions.csv",
        "s3://{results}/submissions/{id}.json",
    ],
)
def test_an_upload_is_found_by_whatever_people_have_at_hand(
    deployment: Deployment, name: str, form: str
) -> None:
    upload = deployment.upload(name)
    deployment.upload("another.csv")
    given = {
        "id": upload,
        "name": name,
        "uploads": SETTINGS.bucket("predictions"),
        "results": SETTINGS.bucket("results"),
    }
    assert Uploads(deployment.aws).find(form.format(**given)).id == upload


@pytest.mark.parametrize("waits", [False, True])
def test_an_upload_is_found_by_the_id_that_the_list_shows(
    deployment: Deployment, waits: bool
) -> None:
    upload = deployment.upload()
    deployment.record(upload)
    if waits:
        deployment.put("results", layout.waiting_key(upload), {})
    assert Uploads(deployment.aws).find(upload[:8]).id == upload


def test_a_short_id_that_two_uploads_share_asks_for_more(deployment: Deployment) -> None:
    for last in "01":
        deployment.put("results", layout.submission_key("01234567" + last * 24), {})
    with pytest.raises(UserError, match="give more of it"):
        Uploads(deployment.aws).find("01234567")


def test_by_its_name_the_newest_version_is_found(deployment: Deployment) -> None:
    deployment.upload(body=b"text\nold\n")
    newest = deployment.upload(body=b"text\nnew\n")
    assert Uploads(deployment.aws).find("claims.csv").id == newest


def test_an_upload_that_was_deleted_is_still_found_by_its_id(deployment: Deployment) -> None:
    upload = deployment.upload()
    deployment.record(upload)
    (version,) = deployment.s3.list_object_versions(Bucket=SETTINGS.bucket("predictions"))[
        "Versions"
    ]
    deployment.s3.delete_object(
        Bucket=SETTINGS.bucket("predictions"), Key=version["Key"], VersionId=version["VersionId"]
    )
    assert Uploads(deployment.aws).find(upload).key == "incoming/claims.csv"


@pytest.mark.parametrize("name", ["x.csv", "0" * 32, "s3://nowhere-at-all/x.csv", ""])
def test_what_is_no_upload_is_one_line(deployment: Deployment, name: str) -> None:
    with pytest.raises(UserError, match="There is no upload"):
        Uploads(deployment.aws).find(name or "incoming/nothing")


def test_the_state_of_many_uploads_asks_for_jobs_by_the_hundred(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    class Batch:
        def describe_jobs(self, jobs: list[str]) -> dict[str, Any]:
            asked.append(len(jobs))
            return {"jobs": [{"jobId": job, "status": "RUNNING"} for job in jobs]}

    uploads = Uploads(deployment.aws)
    monkeypatch.setattr(deployment.aws, "client", lambda _service: Batch())
    found = uploads._jobs(f"job-{number}" for number in range(230))
    assert len(found) == 230
    assert sorted(asked) == [30, 100, 100]
