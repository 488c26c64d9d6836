from __future__ import annotations

import csv
import json
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipelines.sample import write_sample
from steps.container import Container
from steps.errors import InputError
from steps.tracking import TrackingSettings
from steps.validate import main, validate
from steps.validation_settings import CHECKS, ValidationSettings

Rows = list[tuple[str, str]]
SECRET = "secretly"


def good(start: int, rows: int) -> Rows:
    """Distinct texts, four of five about water."""
    return [
        (f"claim {number}: pump leaks", "fire" if number % 5 == 0 else "water")
        for number in range(start, start + rows)
    ]


class Job:
    """A validation job in a folder of its own."""

    def __init__(self, root: Path) -> None:
        self.container = Container(root)

    def put(self, name: str, content: bytes) -> None:
        folder = self.container.processing(name)
        folder.mkdir(parents=True)
        (folder / "claims.csv").write_bytes(content)

    def put_rows(self, training: Rows, test: Rows) -> None:
        for name, rows in (("train", training), ("test", test)):
            folder = self.container.processing(name)
            folder.mkdir(parents=True)
            with (folder / "claims.csv").open("w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows([("text", "label"), *rows])

    def run(self, *arguments: str) -> dict[str, Any]:
        validate(self.container, arguments, TrackingSettings())
        return self.report()

    def refused(self, *arguments: str) -> str:
        with pytest.raises(InputError) as caught:
            self.run(*arguments)
        (line,) = str(caught.value).splitlines()
        assert self.report()["success"] is False
        assert self.report()["message"] == line
        return line

    def report(self) -> dict[str, Any]:
        path = self.container.processing("validation") / "validation.json"
        report: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return report

    def not_passed(self) -> dict[str, str]:
        """The checks that did not pass, with their severity."""
        checks = self.report()["checks"]
        return {check["name"]: check["severity"] for check in checks if not check["passed"]}

    def written(self) -> Iterator[bytes]:
        return (path.read_bytes() for path in self.container.root.rglob("*") if path.is_file())


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


def test_the_sample_data_passes_without_a_warning(job: Job, tmp_path: Path) -> None:
    sample = write_sample(tmp_path / "sample")
    job.put("train", sample.train.read_bytes())
    job.put("test", sample.test.read_bytes())
    report = job.run()
    assert report["success"] is True
    assert report["message"] is None
    assert job.not_passed() == {}
    assert {check["name"] for check in report["checks"]} == set(CHECKS)
    training = report["datasets"]["training"]
    assert training["rows"] == sum(training["labels"].values()) == 6_000
    assert len(training["files"]["claims.csv"]) == 64
    docs = job.container.processing("validation") / "data_docs"
    assert (docs / "index.html").is_file()
    assert len(list((docs / "validations").rglob("*.html"))) == 4


def change(at: int, text: str | None = None, label: str | None = None) -> Callable[[Rows], Rows]:
    def changed(rows: Rows) -> Rows:
        old_text, old_label = rows[at]
        rows[at] = (old_text if text is None else text, old_label if label is None else label)
        return rows

    return changed


def same(rows: Rows) -> Rows:
    return rows


@pytest.mark.parametrize(
    ("training", "test", "check", "sentence"),
    [
        (
            change(1, text="  "),
            same,
            "text_present",
            "training set has 1 of 60 rows without a text (the first is row 2), none tolerated",
        ),
        (
            same,
            change(2, label=" "),
            "label_present",
            "test set has 1 of 20 rows without a label (the first is row 3), none tolerated",
        ),
        (
            lambda rows: [(str(at), label) for at, (_, label) in enumerate(rows)],
            same,
            "text_type",
            'training set has 60 of 60 texts without a letter in the column "text"',
        ),
        (change(1, label="x" * 101), same, "label_type", "1 of 60 labels longer than 100"),
        (
            lambda rows: [(text, "water") for text, _ in rows],
            lambda rows: [(text, "water") for text, _ in rows],
            "label_count",
            "training set has 1 label, at least 2 and at most 1,000 are needed",
        ),
        (
            change(1, label="theft"),
            same,
            "rows_per_class",
            'class "theft" has 1 row in training, at least 2 are needed',
        ),
        (
            lambda rows: change(2, label="flood")(change(1, label="theft")(rows)),
            same,
            "rows_per_class",
            "the smallest of 2 too small classes (flood, theft) has 1 row in training",
        ),
        (
            same,
            change(1, label="theft"),
            "labels_known",
            "test set has 1 label that training never saw (theft)",
        ),
        (
            same,
            lambda rows: good(0, len(rows)),
            "overlap",
            "test set has 20 of 20 texts that training has, too, at most 10 % tolerated",
        ),
    ],
)
def test_bad_data_blocks_and_says_why(
    job: Job,
    training: Callable[[Rows], Rows],
    test: Callable[[Rows], Rows],
    check: str,
    sentence: str,
) -> None:
    job.put_rows(training(good(0, 60)), test(good(100, 20)))
    message = job.refused()
    assert message.startswith("The data did not pass validation: ")
    assert sentence in message
    assert job.not_passed()[check] == "critical"


@pytest.mark.parametrize(
    ("training", "test", "check", "sentence"),
    [
        (change(1, text="ab"), same, "text_length", "1 of 60 texts shorter than 3 or longer"),
        (change(1, text="a" * 20_001), same, "text_length", "1 of 60 texts shorter than 3"),
        (
            same,
            lambda rows: [(text, "water") for text, _ in rows],
            "labels_tested",
            "training set has 1 label that the test set lacks (fire)",
        ),
        (
            same,
            lambda rows: [(text, ("fire", "water")[at % 2]) for at, (text, _) in enumerate(rows)],
            "class_balance",
            "the classes' shares in the test set are 30 % away",
        ),
        (
            lambda rows: rows[:56] + rows[1:5],
            same,
            "duplicates",
            "training set has 8 of 60 rows whose text it has more than once, at most 5 %",
        ),
        (
            same,
            lambda rows: [*rows, (rows[0][0], "water")],
            "contradictions",
            "1 of 80 texts of both sets have more than one label, at most 1 % tolerated",
        ),
    ],
)
def test_doubtful_data_warns_but_passes(
    job: Job,
    training: Callable[[Rows], Rows],
    test: Callable[[Rows], Rows],
    check: str,
    sentence: str,
) -> None:
    job.put_rows(training(good(0, 60)), test(good(100, 20)))
    report = job.run()
    assert report["success"] is True
    assert job.not_passed()[check] == "warning"
    assert any(sentence in found["sentence"] for found in report["checks"])


def test_all_reasons_stand_in_one_sentence(job: Job) -> None:
    test = [*good(100, 20), ("a wave", "flood"), ("a thief", "theft"), ("what", "x")]
    job.put_rows(good(1, 9), test)
    assert job.refused() == (
        'The data did not pass validation: class "fire" has 1 row in training, at least 2 are '
        "needed; test set has 3 labels that training never saw (flood, theft, x)."
    )


def test_what_blocks_and_what_warns_is_a_setting(job: Job) -> None:
    job.put_rows(change(1, text="a thief", label="theft")(good(0, 60)), good(0, 20))
    assert job.run("--warn-only", "rows_per_class, labels_tested,overlap")["success"] is True
    assert job.not_passed()["overlap"] == "warning"
    assert "labels_tested" not in job.refused()
    assert "1 label that the test set lacks (theft)" in job.refused("--warn-only", "")


def test_tolerances_are_settings(job: Job) -> None:
    training = change(1, text="")(good(0, 60))
    job.put_rows(training, good(100, 20))
    job.run("--max-missing", "0.02", "--min-rows-per-class", "12")
    assert "at least 13 are needed" in job.refused("--min-rows-per-class", "13")


def test_the_columns_may_have_any_names(job: Job) -> None:
    header = "in_test,label,test\n"
    for name, start in (("train", 0), ("test", 100)):
        lines = [f"{text},7,{label}\n" for text, label in good(start, 40)]
        job.put(name, (header + "".join(lines)).encode())
    report = job.run("--text-column", "in_test", "--label-column", "test")
    assert report["datasets"]["test"]["labels"] == {"fire": 8, "water": 32}


GOOD_CSV = b"text,label\n" + b"".join(f"{text},{label}\n".encode() for text, label in good(0, 9))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "test does not exist"),
        (b"", "claims.csv is empty"),
        (b"text,label\n", "a header but no rows"),
        (b"words,class\na,b\n", "text_column and label_column"),
        (b"text,label\na,b,c\n", "line 2: 3 fields, expected 2"),
        (b"text,label\n\xff,b\n", "line 2: not UTF-8"),
        (b"text,label\n\x00,b\n", "line 2: a NUL byte"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "a NUL byte"),
    ],
)
def test_a_file_that_cannot_be_read_is_reported_like_a_failed_check(
    job: Job, content: bytes | None, expected: str
) -> None:
    job.put("train", GOOD_CSV)
    if content is not None:
        job.put("test", content)
    message = job.refused()
    assert message.startswith("test set: ")
    assert expected in message
    assert job.not_passed() == {"readable": "critical"}
    assert job.report()["datasets"]["training"]["rows"] == 9


@pytest.mark.parametrize("swapped", [False, True], ids=["columns right", "columns swapped"])
def test_no_text_of_a_claim_is_written_or_printed(
    job: Job, capfd: pytest.CaptureFixture[str], swapped: bool
) -> None:
    training = [(f"{number} {SECRET} {'burnt' * (number % 3)}", "fire") for number in range(40)]
    training += [*training[:9], (f"{SECRET} long " * 4_000, "x"), (f"{SECRET}", "y")]
    test = [*training[5:30], (SECRET, "z"), ("", "fire")]
    job.put_rows(training, test)
    columns = ("label", "text") if swapped else ("text", "label")
    job.refused("--text-column", columns[0], "--label-column", columns[1], "--warn-only", "")
    assert len(job.not_passed()) > 5
    inputs = {path.read_bytes() for path in job.container.root.rglob("claims.csv")}
    outputs = [content for content in job.written() if content not in inputs]
    assert len(outputs) > 5
    assert not any(SECRET.encode() in content for content in outputs)
    printed = capfd.readouterr()
    assert SECRET not in printed.out + printed.err


def test_nothing_is_contacted(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    contacted = []

    def refuse(*address: object) -> None:
        contacted.append(address)
        raise OSError("no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    job.put_rows(good(0, 60), good(100, 20))
    job.run()
    assert contacted == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--warn-only", "overlp"], 'no check "overlp"; did you mean "overlap"?'),
        (["--warn-only", "zzz"], "there are columns, text_present"),
        (["--warn-only", "readable"], 'no check "readable"'),
        (["--max-overlap", "1.5"], "--max-overlap is 1.5: expected between 0 and 1"),
        (["--max-overlap", "nan"], "--max-overlap is nan"),
        (["--max-length", "many"], "--max-length"),
        (["--min-rows-per-class", "0"], "--min-rows-per-class is 0: expected at least 1"),
        (["--no-such-option", "1"], "--no-such-option"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(arguments: Sequence[str], expected: str) -> None:
    with pytest.raises(InputError) as caught:
        ValidationSettings.from_arguments(arguments)
    (line,) = str(caught.value).splitlines()
    assert expected in line


@pytest.fixture
def own_signals() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(("test_label", "code"), [("water", 0), ("theft", 1)])
def test_the_exit_code_and_the_message_are_those_of_a_processing_job(
    job: Job,
    monkeypatch: pytest.MonkeyPatch,
    own_signals: None,
    test_label: str,
    code: int,
) -> None:
    job.put_rows(good(0, 60), change(1, label=test_label)(good(100, 20)))
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(job.container.root))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(sys, "argv", ["validate", "--text-column", "text"])
    assert main() == code
    message = job.container.root / "output" / "message"
    assert message.exists() == (code == 1)
    if code:
        assert "1 label that training never saw (theft)" in message.read_text("utf-8")
