"""The settings: one file for several stages, typed, and a slip in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.errors import UserError
from pipelines.settings import Settings

FILE = """
project = "claims"
min_accuracy = 0.7

[deployment]
log_days = 30
notice_email = "team@example.com"

[stages.prod]
account = "111122223333"
min_accuracy = 0.9
[stages.prod.deployment]
log_days = 365

[stages.test]
use_spot = false
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_stage_takes_what_stands_at_the_top_and_what_its_table_says(folder: Path) -> None:
    (folder / "claimflow.toml").write_text(FILE, "utf-8")
    usual, prod = Settings.load(), Settings.load(stage="prod")
    assert (usual.stage, usual.min_accuracy, usual.deployment.log_days) == ("dev", 0.7, 30)
    assert usual.account is None
    assert (prod.stage, prod.min_accuracy, prod.deployment.log_days) == ("prod", 0.9, 365)
    assert prod.account == "111122223333"
    assert prod.deployment.notice_email == "team@example.com"
    assert prod.bucket("data").startswith("claims-prod-data-111122223333-")


def test_environment_wins_over_the_file_and_chooses_the_stage(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "claimflow.toml").write_text(FILE, "utf-8")
    monkeypatch.setenv("CLAIMFLOW_STAGE", "prod")
    monkeypatch.setenv("CLAIMFLOW_MIN_ACCURACY", "0.5")
    monkeypatch.setenv("CLAIMFLOW_DEPLOYMENT__LOG_DAYS", "7")
    found = Settings.load()
    assert (found.stage, found.min_accuracy, found.deployment.log_days) == ("prod", 0.5, 7)
    assert found.deployment.notice_email == "team@example.com"
    assert Settings.load(stage="test").stage == "test", "an option wins over the environment"


def test_a_file_may_name_its_usual_stage(folder: Path) -> None:
    (folder / "claimflow.toml").write_text('stage = "test"\n' + FILE, "utf-8")
    assert Settings.load().use_spot is False


@pytest.mark.parametrize(
    ("content", "stage", "said"),
    [
        (FILE, "prd", "there is no stage prd; did you mean prod?"),
        ("[stages.prod]\nmin_acuracy = 1", "prod", "did you mean min_accuracy?"),
        ("[stages.prod]\nmin_acuracy = 1", None, r"\[stages.prod\]: there is no setting"),
        ("[stages.prod]\nstage = 'x'", None, "there is no setting stage"),
        ("stages = 1", None, "expected a table for each"),
        ("[deployment]\nlog_day = 1", None, "no setting deployment.log_day; did you mean log_days"),
        ("[deployment]\nlog_days = 8", None, "setting deployment.log_days"),
        ("[deployment]\nvpc_id = 'vpc-1'", None, "vpc_id and subnet_ids belong together"),
        ("[deployment]\nuse_gpu = true", None, "use_gpu needs gpu_image"),
        ("[deployment]\nnotice_email = 'me'", None, "CLAIMFLOW_DEPLOYMENT__NOTICE_EMAIL"),
        ("mim_accuracy = 1", None, "did you mean min_accuracy?"),
        ("min_macro_f1 = 1.1", None, "setting min_macro_f1"),
        ("max_calibration_error = -1", None, "setting max_calibration_error"),
        ("automatic_approval_accuracy = 0.7", None, r"at least min_accuracy \(0.8\)"),
        (
            "[deployment]\nretrain_schedule = 'weekly'",
            None,
            r"expected a schedule as .rate\(7 days",
        ),
        ("[deployment]\nquiet_seconds = 901", None, "setting deployment.quiet_seconds"),
        ("[deployment]\ndrift_bar = 0", None, "setting deployment.drift_bar"),
        ("model_kind = 'ngrams'", None, "setting model_kind .*'ngrams'; .*one of: bert, cnn"),
        ("[hyperparameters]\nepoch = 3", None, "'epoch' does not exist .*did you mean epochs"),
        ("[hyperparameters]\nepochs = -1", None, "'epochs' is -1, expected between 0 and 1000"),
        ("[hyperparameters]\ndropout = 0.1", None, "only for: bert, cnn, lstm, textcnn"),
        ("[hyperparameters]\nkind = 'cnn'", None, "give it as the setting model_kind"),
        ("[hyperparameters]\nmonitor = ['loss']", None, "setting hyperparameters.monitor"),
    ],
)
def test_a_slip_is_one_line_that_says_what_is_meant(
    folder: Path, content: str, stage: str | None, said: str
) -> None:
    (folder / "claimflow.toml").write_text(content, "utf-8")
    with pytest.raises(UserError, match=said) as caught:
        Settings.load(stage=stage)
    assert "\n" not in str(caught.value)


def test_settings_cannot_be_changed_once_they_are_read() -> None:
    settings = Settings.load()
    with pytest.raises(ValueError, match="frozen"):
        settings.deployment.log_days = 1
