"""The report on an execution as a page: whatever became of it, whatever its labels are called."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.bars import judged
from pipelines.diagnosis import Diagnosis
from pipelines.execution_status import ExecutionStatus, StepStatus
from pipelines.page import table
from pipelines.registry.lineage import Lineage
from pipelines.report.charts import Interval, Line, calibration, curves, intervals
from pipelines.report.flow import Flow, Node, drawn, told
from pipelines.report.model_sections import MATRIX, MOST_CONFUSIONS
from pipelines.report.run import Bin, Check, Mistake, Run
from pipelines.report.run_page import run_page
from pipelines.training_log import epochs
from tests.pipelines.lineages import EXECUTION, lineage
from tests.pipelines.still_page import Page

BEGAN = datetime(2026, 11, 22, 12, tzinfo=timezone.utc)
FLOW = Flow.of(json.loads((Path(__file__).parent / "golden" / "definition.json").read_text()))
HOSTILE = ["<script>alert(1)</script>", "\u202eright to left", "\"&'\x00\x1b[31m]]>", "x" * 10_000]


def steps(*names: str, state: str = "Succeeded") -> list[StepStatus]:
    """Steps that followed each other, ten seconds each."""
    return [
        StepStatus(
            name,
            "",
            state if name == names[-1] else "Succeeded",
            BEGAN + timedelta(seconds=10 * place),
            BEGAN + timedelta(seconds=10 * place + 10),
        )
        for place, name in enumerate(names)
    ]


def measured(labels: dict[str, tuple[float, int]] | None = None, **more: Any) -> Run:
    """A run that was evaluated, with everything; `more` replaces parts."""
    labels = labels or {"fire": (0.95, 300), "water": (0.71, 100)}
    names = list(labels)
    found = lineage(labels)
    found.parameters.update({"MinAccuracy": "0.8", "AllowedRegression": "0.005"})
    done = steps("Validate", "Train", "Evaluate", "ModelGate", "Register")
    parts: dict[str, Any] = {
        "status": ExecutionStatus(EXECUTION, "Succeeded", "", done),
        "lineage": found,
        "made_at": BEGAN,
        "flow": FLOW,
        "epochs": {
            n: {"train_loss": 1 / n, "val_loss": 1.1 / n, "val_accuracy": 1 - 0.5 / n}
            for n in (1, 2, 3)
        },
        "bars": judged(found.evaluation, found.parameters),
        "confusion": {one: {other: 3 + (one == other) for other in names} for one in names},
        "reliability": [Bin(0.55, 0.5, 40), Bin(0.95, 0.93, 360)],
        "mistakes": [Mistake(17, names[0], names[-1], 0.987)],
        "checks": [
            Check("nulls", "training", True, True, "no text is missing"),
            Check("overlap", "training", False, False, "3 texts are in both sets"),
        ],
        "merged": {"files": 1, "rows_in": 10, "relabelled": 1, "leaks_removed": 2, "rows_out": 7},
        "data_docs": "s3://models/runs/x/validation/data_docs/index.html",
    }
    return Run(**{**parts, **more})


def bare(status: str = "Executing", *done: StepStatus) -> Run:
    """A run of which hardly anything is known."""
    model = replace(lineage().model, version=0, approval="", metadata={}, metrics=None)
    found = Lineage(model, missing=["the steps of the execution cannot be read (AccessDenied)"])
    return Run(
        ExecutionStatus(EXECUTION, status, "", list(done)),
        found,
        BEGAN,
        Flow(),
        missing=found.missing,
    )


def shown(run: Run) -> str:
    return Page(run_page(run)).text


def test_the_page_tells_all_that_is_known() -> None:
    words = shown(measured())
    for expected in (
        "Run abcdefghijkl",
        "It succeeded and registered model version 3, now approved",
        "From 2026-11-22 12:00:00 UTC to 2026-11-22 12:00:50 UTC, 50.0 s",
        "between 90.1% and 95.1% (95 %)",
        "overlap: 3 texts are in both sets",
        "Of 10 labelled rows in 1 file 1 were replaced",
        "s3://models/runs/x/validation/data_docs/index.html",
        "3 epochs; the loss on the validation rows was least after epoch 3: 0.3667",
        "accuracy 0.9300 is above MinAccuracy 0.8",
        "+0.0200 (+0.0100 to +0.0300)",
        "▲ 0.9300",
        "Of 40 rows with a confidence of about 55%, 50% are right.",
        "17 fire water 98.7%",
        "Hyperparameters of the training job",
        "labelled/train/old claims.csv",
        EXECUTION,
    ):
        assert expected in words, expected
    assert "What is not known" not in words


def test_the_page_needs_nothing_beside_it_and_can_be_printed_and_read_in_the_dark() -> None:
    html = run_page(measured())
    assert "default-src 'none'; style-src 'unsafe-inline'" in html
    assert "prefers-color-scheme:dark" in html and "@media print" in html
    assert "https://" not in html
    for tag in ("main", "nav", "svg", "figure", "details"):
        assert tag in Page(html).tags


@pytest.mark.parametrize("run", [bare(), bare("Stopped"), bare("Failed", *steps("Train"))])
def test_what_is_missing_is_said(run: Run) -> None:
    words = shown(run)
    assert "It was not evaluated" in words
    assert "cannot be read (AccessDenied)" in words
    assert "What the validation of the data found is not known" in words


def test_a_failure_is_told_with_its_cause_and_the_last_lines() -> None:
    cause = Diagnosis(
        EXECUTION,
        "Failed",
        "Train",
        "AlgorithmError: killed",
        "out of memory",
        "the job needed more memory than its instance has",
        "set a larger instance",
        job="j",
        log_group="/aws/sagemaker/TrainingJobs",
        log=["epoch=1", "<b>Killed</b>"],
    )
    status = ExecutionStatus(EXECUTION, "Failed", "", steps("Validate", "Train", state="Failed"))
    words = shown(replace(bare(), status=status, diagnosis=cause, flow=FLOW))
    for expected in (
        "It failed at Train.",
        cause.reason,
        cause.cause,
        cause.advice,
        "epoch=1 <b>Killed</b>",
        "Evaluate after Champion and Train: did not run.",
    ):
        assert expected in words, expected


def test_an_evaluation_of_an_older_version_lacks_parts_and_says_so() -> None:
    words = shown(measured(reliability=None, mistakes=None, confusion={}, epochs={}))
    assert "does not tell how right it is by how sure it is" in words
    assert "does not tell which rows were wrong" in words
    assert "tells no epoch" in words
    assert "What it confuses" not in words


def test_a_model_without_mistakes_is_said_to_have_none() -> None:
    diagonal = {"fire": {"fire": 9, "water": 0}, "water": {"fire": 0, "water": 8}}
    assert "It made no mistake" in shown(measured(mistakes=[], confusion=diagonal))


def test_few_labels_make_a_matrix_and_many_a_list_of_the_largest_confusions() -> None:
    few = run_page(measured())
    assert 'class="matrix"' in few
    names = [f"label {number}" for number in range(MATRIX + 1)]
    confusion = {one: dict.fromkeys(names, 1) | {one: 50} for one in names}
    confusion["label 3"]["label 5"] = 31
    many = run_page(measured(confusion=confusion))
    assert 'class="matrix' not in many
    words = Page(many).text
    total = len(names) * (len(names) - 1)
    assert f"The most frequent confusions: {MOST_CONFUSIONS} of {total}" in words
    assert re.search(r"of the label label 3 label 5 31 33\.\d%", words)


def test_a_thousand_hostile_and_endless_labels_break_nothing() -> None:
    names = [f"{HOSTILE[n % len(HOSTILE)]} {n}" for n in range(1000)]
    labels = dict.fromkeys(names, (0.5, 10))
    confusion = {one: dict.fromkeys(names[:50], 2) for one in names}
    run = measured(
        labels,
        confusion=confusion,
        mistakes=[Mistake(n + 1, names[n], names[-n - 1], 0.9) for n in range(20)],
        missing=HOSTILE,
    )
    html = run_page(run)
    assert "<script>alert(1)</script>" in Page(html).text
    assert len(html) < 400_000


_WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
_SHARES = st.floats(0, 1)


@settings(max_examples=30, deadline=None)
@given(
    labels=st.dictionaries(_WORDS, st.tuples(_SHARES, st.integers(1, 10**6)), min_size=1),
    told=st.dictionaries(
        st.integers(1, 10**5),
        st.dictionaries(st.sampled_from(["train_loss", "val_loss"]), st.floats(-1e12, 1e12)),
        max_size=50,
    ),
    bins=st.lists(st.builds(Bin, _SHARES, _SHARES, st.integers(1, 10**9)), min_size=1),
    reason=_WORDS,
)
def test_whatever_was_measured_the_page_is_well_formed(
    labels: dict[str, tuple[float, int]],
    told: dict[int, dict[str, float]],
    bins: list[Bin],
    reason: str,
) -> None:
    failed = [replace(one, name=reason, reason=reason) for one in steps("x", state="Failed")]
    status = ExecutionStatus(EXECUTION, "Failed", reason, failed)
    run = measured(labels, epochs=dict(sorted(told.items())), reliability=bins, status=status)
    html = run_page(run)
    Page(html)
    assert not re.search(r'="[^"]*\b(nan|inf)\b', html)


def test_the_graph_keeps_the_edges_that_do_not_follow_from_others() -> None:
    assert FLOW.edges == {
        ("Validate", "Train"),
        ("Train", "Evaluate"),
        ("Champion", "Evaluate"),
        ("Evaluate", "ModelGate"),
        ("ModelGate", "Register"),
        ("ModelGate", "ModelRejected"),
    }
    assert FLOW.layers() == [
        ["Validate"],
        ["Champion", "Train"],
        ["Evaluate"],
        ["ModelGate"],
        ["Register", "ModelRejected"],
    ]


def test_the_graph_says_in_words_what_it_draws() -> None:
    nodes = {
        "Validate": Node("Validate", "Succeeded", "succeeded, 9.0 s"),
        "Train": Node("Train", "Failed", "failed, 2.0 s"),
    }
    words = told(FLOW, nodes)
    assert words.startswith("Validate: succeeded, 9.0 s.")
    assert "Train after Validate: failed, 2.0 s." in words
    for wide in (True, False):
        drawing = drawn(FLOW, nodes, wide)
        Page(drawing)
        assert words in drawing
        assert "✗ failed" in drawing and 'stroke="var(--bad)"' in drawing


def test_a_definition_with_a_circle_is_drawn_all_the_same() -> None:
    circle = Flow(["a", "b"], {("a", "b"), ("b", "a")})
    assert sorted(step for layer in circle.layers() for step in layer) == ["a", "b"]


@pytest.mark.parametrize("values", [(0.5,), (0.5, 0.5), (0.0, 1e-9), (-1e9, 1e9), (1e-7, 3e5)])
def test_a_chart_holds_any_figures(values: tuple[float, ...]) -> None:
    html = curves("c", "title", "told", [Line("a", "bar", "", list(enumerate(values, 1)))])
    Page(html)
    (points,) = re.findall(r'<polyline points="([^"]+)"', html)
    for point in points.split():
        x, y = map(float, point.split(","))
        assert 0 <= x <= 400 and 0 <= y <= 230


def test_the_drawings_place_what_they_show() -> None:
    exact = calibration("c", "t", "d", [(0.0, 0.0, 1), (1.0, 1.0, 4)])
    (points,) = re.findall(r'<polyline points="([^"]+)"', exact)
    diagonal = re.findall(r'<path d="M(\S+) (\S+)L(\S+) (\S+)" stroke="var\(--soft\)"', exact)
    numbers = [float(one) for point in points.split() for one in point.split(",")]
    assert numbers == pytest.approx([float(one) for one in diagonal[0]])
    worse = intervals("i", "t", "d", [Interval("accuracy", -0.02, -0.03, -0.01)])
    (dot,) = re.findall(r'<circle cx="([\d.]+)"', worse)
    assert float(dot) < 200, "left of the middle is worse"


def test_the_epochs_of_a_mean_of_descents_are_said_to_be_of_the_first() -> None:
    run = measured()
    assert "descents" not in shown(run)
    run.lineage.evaluation["challenger"]["model"]["hyperparameters"] = {"descents": 3}
    assert "The model is the mean of 3 descents; these figures are of the first" in shown(run)


def test_the_epochs_are_read_out_of_the_log() -> None:
    lines = [
        "[15:47:05] ../src/operator/utils.h:472: Optimizer with lazy_update",
        "epoch=1 train_loss=0.5 val_accuracy=0.9 samples_per_s=775",
        "epoch=2 train_loss=0.4 val_accuracy=0.8",
        "epoch=2 train_loss=0.3",  # after a resume
        "epoch=3 train_loss=1e999",
        "epoch=3x train_loss=1",
        "descent=2 epoch=1 loss=0.1",
        "validation_accuracy=0.9",
    ]
    found = epochs(lines)
    assert found == {
        1: {"train_loss": 0.5, "val_accuracy": 0.9, "samples_per_s": 775},
        2: {"train_loss": 0.3},
        3: {},
    }


def test_a_wide_table_can_be_moved_with_the_keyboard() -> None:
    assert 'tabindex="0"' in table("caption", ["a", "b>"], [["x", "1"]])
