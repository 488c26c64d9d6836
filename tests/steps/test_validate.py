from __future__ import annotations

import csv
import gzip
import io
import json
import lzma
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.data.sample import write_sample
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


def packed(rows: Rows, *more: str) -> bytes:
    """A CSV file of claims, with columns before the two that have these names."""
    file = io.StringIO(newline="")
    lines = [("text", "label"), *rows]
    csv.writer(file).writerows([(*more, *line) for line in lines])
    return file.getvalue().encode()


class Job:
    """A validation job in a folder of its own."""

    def __init__(self, root: Path) -> None:
        self.container = Container(root)

    def put(self, name: str, content: bytes, file: str = "claims.csv") -> None:
        folder = self.container.processing(name)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(content)

    def put_rows(self, training: Rows, test: Rows) -> None:
        self.put("train", packed(training))
        self.put("test", packed(test))

    def run(self, *arguments: str) -> dict[str, Any]:
        validate(self.container, arguments, TrackingSettings())
        return self.report()

    @property
    def training(self) -> Path:
        """What there is to learn from."""
        return self.container.processing("training") / "train.csv"

    def refused(self, *arguments: str) -> str:
        self.training.unlink(missing_ok=True)  # of a run before
        with pytest.raises(InputError) as caught:
            self.run(*arguments)
        (line,) = str(caught.value).splitlines()
        assert self.report()["success"] is False
        assert self.report()["message"] == line
        assert not self.training.exists()
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


def test_training_files_are_merged_in_the_order_of_their_names(
    job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    old, test = good(0, 60), good(100, 20)
    newer = [(f" {old[1][0]}", "fire"), ("door: left open", "water")]
    newest = [("door: left open", "fire"), test[0], (old[2][0], "water")]
    job.put("train", packed(old), "0001-claims.csv")
    job.put("train", lzma.compress(packed(newer, "who", "when")), "0002-b.csv.xz")
    job.put("train", gzip.compress(packed(newest, "id")), "0003-a.csv.gz")
    job.put("test", packed(test))
    report = job.run()
    kept = [row for number, row in enumerate(old) if number not in (1, 2)]
    assert job.training.read_bytes() == packed([*kept, newer[0], newest[0], newest[2]])
    assert report["datasets"]["training"]["rows"] == 65
    assert report["merged"] == {
        "files": 3,
        "rows_in": 65,
        "relabelled": 3,
        "leaks_removed": 1,
        "rows_out": 61,
    }
    assert (
        "merged: 3 files with 65 rows; 3 replaced by a later file's label of the same text, 1 "
        "taken out because the test set has their text; 61 to learn from"
    ) in capsys.readouterr().out


def test_what_only_warns_stays_in_the_training_set(job: Job) -> None:
    training = [
        *good(0, 60),
        (good(3, 1)[0][0], "fire"),
        ("", "fire"),
        ("no label", ""),
        ("ab", "fire"),
    ]
    job.put_rows(training, good(100, 20))
    job.run("--warn-only", "text_present,label_present,text_length,duplicates,contradictions")
    assert job.training.read_bytes() == packed(training)


def test_the_training_set_has_the_columns_of_the_settings(job: Job) -> None:
    for name, rows in (("train", good(0, 60)), ("test", good(100, 20))):
        job.put(name, packed(rows).replace(b"text,label", b"reason,class", 1))
    job.run("--text-column", "reason", "--label-column", "class")
    assert job.training.read_bytes().startswith(b"reason,class\r\nclaim 0: pump leaks,fire\r\n")


def test_overlap_is_judged_before_the_leaks_are_taken_out(job: Job) -> None:
    job.put_rows(good(0, 60), [*good(0, 3), *good(100, 17)])
    message = job.refused()
    assert "test set has 3 of 20 texts that training has, too, at most 10 % tolerated" in message
    assert job.report()["merged"]["leaks_removed"] == 3
    assert job.run("--max-overlap", "0.2")["merged"]["rows_out"] == 57


def test_outer_blanks_do_not_hide_a_leak(job: Job) -> None:
    job.put_rows(good(0, 60), [(f" {text} ", label) for text, label in good(0, 20)])
    assert "test set has 20 of 20 texts that training has, too" in job.refused()


@pytest.mark.parametrize(
    ("training", "test", "sentence"),
    [
        (
            [*good(0, 20), ("a thief", "theft"), ("a robber", "theft")],
            [*good(100, 20), ("a thief", "theft")],
            'class "theft" has 1 row in training, without the claims of the test set, at least 2',
        ),
        (
            [*good(0, 20), ("a thief", "theft"), ("a robber", "theft")],
            [*good(100, 20), ("a thief", "theft"), ("a robber", "theft")],
            "test set has 1 label that training never saw (theft)",
        ),
        (
            [("a pump", "water"), ("a hose", "water"), ("a wire", "fire")],
            [("a hose", "water"), ("a wire", "fire")],
            "training set has 1 label, at least 2 and at most",
        ),
    ],
)
def test_classes_are_judged_on_what_is_left_to_learn_from(
    job: Job, training: Rows, test: Rows, sentence: str
) -> None:
    job.put_rows(training, test)
    assert sentence in job.refused("--max-overlap", "1")


def test_texts_that_are_all_blank_are_refused_like_any(job: Job) -> None:
    blank = [("  ", label) for _, label in good(0, 20)]
    job.put_rows(blank, blank)
    assert "training set has 20 of 20 rows without a text" in job.refused()
    assert job.report()["merged"]["rows_out"] == 20


@settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    files=st.lists(st.lists(st.integers(0, 80), min_size=1, max_size=30), min_size=1, max_size=3),
    tested=st.lists(st.integers(0, 80), min_size=1, max_size=10),
)
def test_every_row_is_accounted_for_and_no_claim_of_the_test_set_is_learnt(
    tmp_path_factory: pytest.TempPathFactory, files: list[list[int]], tested: list[int]
) -> None:
    job = Job(tmp_path_factory.mktemp("job"))
    claims = good(0, 81)
    for number, chosen in enumerate(files):
        job.put("train", packed([claims[one] for one in chosen]), f"{number:04}-part.csv")
    job.put("test", packed([claims[one] for one in tested]))
    merged = job.run("--warn-only", ",".join(JUDGED))["merged"]
    rows = list(csv.reader(job.training.read_text("utf-8").splitlines()))[1:]
    assert not {text for text, _ in rows} & {claims[one][0] for one in tested}
    assert len(rows) == merged["rows_out"]
    assert sum(map(len, files)) == merged["rows_in"]
    assert merged["rows_in"] == (
        merged["rows_out"] + merged["relabelled"] + merged["leaks_removed"]
    )


JUDGED = [name for name in CHECKS if name != "readable"]
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
    assert job.report()["merged"] is None


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
