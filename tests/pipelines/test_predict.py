"""`claimflow predict` against a deployment: upload, wait, fetch."""

from __future__ import annotations

import json
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lambdas import layout
from pipelines.cli.predict import command
from pipelines.errors import UserError
from pipelines.predictions import NoApprovedModel, Predictions
from pipelines.transfers import Progress
from pipelines.upload_state import Upload
from pipelines.uploads import Uploads
from tests.pipelines.deployment import SETTINGS, Deployment


def uploaded(deployment: Deployment, tmp_path: Path) -> Upload:
    (tmp_path / "claims.csv").write_text("text\nwater\n", "utf-8")
    return Predictions(deployment.aws).upload(tmp_path / "claims.csv")


def predict(
    deployment: Deployment,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    react: Callable[[Upload], None],
) -> Result:
    """Runs the command; `react` does what the functions and the job do after the upload."""
    put = Predictions.upload

    def upload_and_react(self: Predictions, path: Path, progress: Progress) -> Upload:
        upload = put(self, path, progress)
        react(upload)
        return upload

    monkeypatch.setattr(Predictions, "upload", upload_and_react)
    (tmp_path / "claims.csv").write_text("text\nwater\n", "utf-8")
    given = [str(tmp_path / "claims.csv"), "--output", str(tmp_path / "out"), "--timeout", "1"]
    return CliRunner().invoke(command, given)


def test_what_is_uploaded_is_found_again(deployment: Deployment, tmp_path: Path) -> None:
    upload = uploaded(deployment, tmp_path)
    assert Uploads(deployment.aws).find("claims.csv").id == upload.id


def test_xz_is_unpacked_on_the_way(deployment: Deployment, tmp_path: Path) -> None:
    (tmp_path / "claims.csv.xz").write_bytes(lzma.compress(b"text\nwater\n"))
    upload = Predictions(deployment.aws).upload(tmp_path / "claims.csv.xz")
    found = deployment.s3.get_object(Bucket=upload.bucket, Key=upload.key)
    assert upload.key == "incoming/claims.csv"
    assert found["Body"].read() == b"text\nwater\n"


def test_a_file_whose_name_is_an_ending_alone_has_one_in_the_bucket(
    deployment: Deployment, tmp_path: Path
) -> None:
    (tmp_path / ".xz").write_bytes(lzma.compress(b"text\nwater\n"))
    assert Predictions(deployment.aws).upload(tmp_path / ".xz").key == "incoming/xz"


def test_the_results_of_the_newest_attempt_are_fetched(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def react(upload: Upload) -> None:
        prefix = layout.prefix_of_attempt(deployment.record(upload.id), 2)
        deployment.record(upload.id, "job", attempt=2, results_prefix=prefix)
        deployment.settle(upload.id, prefix)
        deployment.put("results", f"{prefix}predictions.csv", b"text,label\nwater,leak\n")

    deployment.submit("RUNNING")
    done = predict(deployment, monkeypatch, tmp_path, react)
    assert done.exit_code == 0, done.output
    assert "12 rows: 10 predicted (3 for a person to look at), 2 rejected" in done.output
    assert (tmp_path / "out" / "predictions.csv").read_text("utf-8") == "text,label\nwater,leak\n"


@pytest.mark.parametrize(
    ("kinds", "told"), [(3, ""), (4, "for 1 more reason,"), (5, "for 2 more r")]
)
def test_the_commonest_reasons_of_rejected_rows_are_told_and_how_many_there_are_more(
    deployment: Deployment,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    kinds: int,
    told: str,
) -> None:
    rejects = ["blank", *(f"reason {letter}" for letter in "abcde"[:kinds])][:kinds]
    rows = "".join(f"{number},{reason}\n" for number, reason in enumerate(["blank", *rejects]))

    def react(upload: Upload) -> None:
        prefix = deployment.record(upload.id)
        deployment.settle(upload.id, prefix)
        deployment.put("results", f"{prefix}rejects.csv", f"line,reason\n{rows}".encode())

    done = predict(deployment, monkeypatch, tmp_path, react)
    assert "rejected: 2 rows: blank\nrejected: 1 row: reason a\n" in done.output
    assert told in done.output and ("more reason" in done.output) == bool(told)


def test_a_failed_manifest_is_one_line(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def react(upload: Upload) -> None:
        deployment.settle(upload.id, deployment.record(upload.id), reason="the file is empty")

    done = predict(deployment, monkeypatch, tmp_path, react)
    assert done.exit_code == 1
    assert "claims.csv: the file is empty" in done.output


def test_a_failed_job_is_told_with_batchs_reason(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    job = deployment.submit("FAILED", "Host EC2 terminated")

    def react(upload: Upload) -> None:
        deployment.record(upload.id, job)

    done = predict(deployment, monkeypatch, tmp_path, react)
    assert isinstance(done.exception, UserError)
    assert "Host EC2 terminated" in str(done.exception)


def test_without_a_model_the_upload_waits(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    marker = {"bucket": "b", "key": "k", "version": "v", "etag": "e"}
    done = predict(
        deployment,
        monkeypatch,
        tmp_path,
        lambda upload: deployment.put("results", layout.waiting_key(upload.id), marker),
    )
    assert done.exit_code == 4
    assert "claimflow model approve VERSION" in done.output


def test_when_the_time_is_up_the_user_knows_where_to_look(
    deployment: Deployment, tmp_path: Path
) -> None:
    upload = uploaded(deployment, tmp_path)
    with pytest.raises(UserError, match=f"claimflow predictions show {upload.id}"):
        Predictions(deployment.aws).wait(upload, 0.1)
    marker = {"key": upload.key}
    deployment.put("results", layout.waiting_key(upload.id), marker)
    with pytest.raises(NoApprovedModel):
        Predictions(deployment.aws).wait(upload, 5)


def test_each_state_is_told_once(deployment: Deployment, tmp_path: Path) -> None:
    upload = uploaded(deployment, tmp_path)
    deployment.record(upload.id, deployment.submit("RUNNING"))
    told: list[str] = []
    with pytest.raises(UserError, match="No result within"):
        Predictions(deployment.aws).wait(upload, 1, told.append)
    assert told == ["Batch job running"]


def test_programs_get_json_alone_on_standard_output(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    upload = uploaded(deployment, tmp_path)
    deployment.settle(upload.id, deployment.record(upload.id))
    monkeypatch.setattr(Predictions, "upload", lambda *_: upload)
    given = [str(tmp_path / "claims.csv"), "--output", str(tmp_path / "out"), "--json"]
    document = json.loads(CliRunner().invoke(command, given).stdout)
    assert document["manifest"]["bucket"] == SETTINGS.bucket("predictions")
