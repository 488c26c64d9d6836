"""The report on an execution as a page."""

from __future__ import annotations

from datetime import datetime

from pipelines.execution_status import StepStatus
from pipelines.page import (
    described,
    figures,
    folded,
    items,
    page,
    paragraph,
    section,
    table,
    text,
)
from pipelines.registry import facts, tables
from pipelines.report import model_sections
from pipelines.report.flow import STATES, Node, drawn
from pipelines.report.run import Run

_FOOT = "Made at {} of what was known then. {}"
_NO_TEXT = "It holds no text of a claim: rows are named by their numbers."
_WITH_TEXTS = "It holds texts of claims: give it to nobody who may not read them."

_STYLE = """
.flow-tall{display:none;margin:0 auto}
@media(max-width:46rem){.flow-wide{display:none}.flow-tall{display:block}}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(19rem,100%),1fr));gap:0 2rem}
.chart{margin:.8rem 0}.chart figcaption{margin-bottom:.5rem;font-size:.9rem}
.key{display:flex;flex-wrap:wrap;gap:.1rem 1.2rem;margin-top:.3rem;font-size:.85rem;
color:var(--soft)}
.key span{display:inline-flex;align-items:center;gap:.4rem}.key svg{width:26px;flex:none}
.matrix{width:auto}.matrix th,.matrix td{padding:.45rem .7rem;border:1px solid var(--line)}
.matrix td{min-width:3.4rem;text-align:right;
background:color-mix(in srgb,var(--bar) calc(var(--share)*50%),transparent)}
.matrix .right{font-weight:600}
.matrix th{min-width:0;white-space:nowrap}
.matrix th[scope=row]{position:sticky;left:0;background:var(--paper)}
.upright thead bdi{display:inline-block;writing-mode:vertical-rl;transform:rotate(180deg)}
.log{padding:.8rem 1rem;overflow-x:auto;background:var(--track);font-size:.82rem;line-height:1.45}
nav ul{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;padding:0;list-style:none;font-size:.95rem}
@media print{nav{display:none}}
"""


def run_page(run: Run) -> str:
    """The whole document."""
    title = f"Run {run.status.id}"
    parts = {
        "Why it ended so": _cause(run),
        "The pipeline": _pipeline(run),
        "The data": _validation(run),
        "How it learnt": model_sections.learning(run),
        "How good the model is": model_sections.measures(run),
        "What it confuses": model_sections.confusions(run),
        "How sure it is": model_sections.sureness(run),
        "Its surest mistakes": model_sections.mistakes(run),
        "How it was made": _made(run),
        "What is not known": items(run.missing) if run.missing else "",
    }
    shown = {heading: part for heading, part in parts.items() if part}
    places = (section(heading, part) for heading, part in shown.items())
    foot = _FOOT.format(_moment(run.made_at), _WITH_TEXTS if run.texts else _NO_TEXT)
    links = "".join(
        f'<li><a href="#{heading.lower().replace(" ", "-")}">{heading}</a></li>'
        for heading in shown
    )
    return page(
        title,
        [
            f"<h1>{text(title)}</h1>",
            paragraph(_verdict(run), "lead"),
            paragraph(_when(run), "soft"),
            _headlines(run),
            f'<nav aria-label="Parts of this page"><ul>{links}</ul></nav>',
            *places,
            f"<footer>{paragraph(foot)}</footer>",
        ],
        _STYLE,
    )


def _verdict(run: Run) -> str:
    status = run.status
    if status.is_rejected:
        return "The model was rejected: it missed a bar. Nothing broke."
    if status.status == "Succeeded":
        if run.version is None:
            return "It succeeded, and registered no model."
        model = run.lineage.model
        return f"It succeeded and registered model version {model.version}, now {_approval(run)}."
    if status.status == "Failed":
        step = status.failed_step
        return f"It failed at {step.name}." if step else "It failed."
    if status.status == "Stopped":
        return "It was stopped."
    return f"It has not ended: {status.status.lower()}."


def _approval(run: Run) -> str:
    words = {"PendingManualApproval": "waiting for a person's approval"}
    return words.get(run.lineage.model.approval, run.lineage.model.approval.lower())


def _when(run: Run) -> str:
    began = run.status.began
    if began is None:
        return "No step has begun."
    ends = [one.ended for one in run.status.steps if one.ended]
    if not (run.status.has_ended and ends):
        return f"Began at {_moment(began)}."
    seconds = (max(ends) - began).total_seconds()
    return f"From {_moment(began)} to {_moment(max(ends))}, {_duration(seconds)}."


def _headlines(run: Run) -> str:
    challenger = run.lineage.evaluation.get("challenger") or {}
    compared = run.lineage.evaluation.get("comparison") or {}
    shown = []
    if "accuracy" in challenger:
        low, high = facts.interval(challenger["accuracy"], int(challenger["rows"]) or 1)
        remark = f"between {low:.1%} and {high:.1%} (95 %)"
        shown.append(("accuracy", f"{challenger['accuracy']:.1%}", remark))
    if challenger.get("macro_f1") is not None:
        worst = challenger.get("worst_class_recall")
        remark = "" if worst is None else f"worst label: {worst:.1%} found"
        shown.append(("macro F1", f"{challenger['macro_f1']:.3f}", remark))
    if compared.get("has_champion"):
        points = -100 * compared["regression"]
        remark = "points of accuracy"
        if "regression_low" in compared:
            ends = (-100 * compared["regression_high"], -100 * compared["regression_low"])
            remark += f", {ends[0]:+.1f} to {ends[1]:+.1f}"
        shown.append(("against the champion", f"{points:+.1f}", remark))
    if challenger.get("calibration_error") is not None:
        error = challenger["calibration_error"]
        shown.append(("calibration error", f"{100 * error:.1f}", "points, on average"))
    return figures(shown) if shown else ""


def _cause(run: Run) -> str:
    found = run.diagnosis
    if found is None:
        return ""
    told = {
        "step": found.step,
        "reason": "" if run.status.is_rejected else found.reason,
        "cause": found.cause,
        "what to do": found.advice,
        "log": found.log_group and f"{found.log_group} {found.job}",
        "": found.log_fault,
    }
    shown = [described({term: value for term, value in told.items() if value})]
    if found.missed:
        shown.append(items(found.missed))
    if found.log:
        log = "\n".join(text(line, 500) for line in found.log)
        shown.append(
            folded("The last lines of its log", f'<pre class="log" tabindex="0">{log}</pre>')
        )
    return f'<div class="note bad">{"".join(shown)}</div>'


def _pipeline(run: Run) -> str:
    nodes = {one.name: Node(one.name, one.status, _told(one)) for one in run.status.steps}
    graph = "".join(drawn(run.flow, nodes, wide) for wide in (True, False))
    rows = [
        [
            text(one.name),
            _state(one),
            _moment(one.started) if one.started else "–",
            "–" if one.seconds is None else _duration(one.seconds),
        ]
        for one in run.status.steps
    ]
    if not rows:
        return f"<figure>{graph}</figure>" + paragraph("No step has begun.")
    steps = table("The steps that ran", ["step", "state", "began", "time>"], rows)
    return f"<figure>{graph}</figure>{folded('The steps as a table', steps)}"


def _told(step: StepStatus) -> str:
    if step.is_cached:
        return "cached"
    time = "" if step.seconds is None else f", {_duration(step.seconds)}"
    return f"{step.status.lower()}{time}"


def _state(step: StepStatus) -> str:
    sign, colour = STATES.get(step.status, ("", "soft"))
    css = f' class="{colour}"' if colour in ("good", "bad") else ""
    cached = ", its result that of an earlier run" if step.is_cached else ""
    return f"<span{css}>{sign} {text(step.status)}</span>{cached}"


def _validation(run: Run) -> str:
    if not run.checks:
        known = [paragraph("What the validation of the data found is not known.")]
    else:
        failed = [one for one in run.checks if not one.passed and one.blocks]
        warned = [one for one in run.checks if not one.passed and not one.blocks]
        passed = len(run.checks) - len(failed) - len(warned)
        if failed:
            sentence = f"The data did not pass: {len(failed)} of {len(run.checks)} checks failed."
        else:
            sentence = f"The data passed: {passed} of {len(run.checks)} checks without a remark."
        if warned:
            sentence += f" {len(warned)} warned, which stops nothing."
        known = [paragraph(sentence)]
        if run.merged.get("rows_in"):
            known.append(paragraph(_merged(run.merged)))
        remarks = [f"{one.name}: {one.sentence}" for one in (*failed, *warned)]
        if remarks:
            known.append(f'<div class="note">{items(remarks)}</div>')
        rows = [
            [
                text(one.name.replace("_", " ")),
                text(one.dataset),
                _outcome(one.passed, one.blocks),
                text(one.sentence),
            ]
            for one in run.checks
        ]
        header = ["check", "set", "outcome", "what was found"]
        known.append(folded("All checks", table("The checks of the data", header, rows)))
    known.append(described({"report": run.lineage.validation_uri, "Data Docs": run.data_docs}))
    return "".join(known)


def _merged(merged: dict[str, int]) -> str:
    files = merged.get("files", 0)
    return (
        f"Of {merged['rows_in']:,} labelled rows in {files:,} {'file' if files == 1 else 'files'} "
        f"{merged.get('relabelled', 0):,} were replaced by a later label, "
        f"{merged.get('leaks_removed', 0):,} taken out because the test set has their text, and "
        f"{merged.get('rows_out', 0):,} were left to learn from."
    )


def _outcome(passed: bool, blocks: bool) -> str:
    if passed:
        return '<span class="good">✓ passed</span>'
    return '<span class="bad">✗ failed</span>' if blocks else "! warning"


def _made(run: Run) -> str:
    told = facts.made(run.lineage)
    if run.version is None:
        told = {**told, "version": "", "registered": ""}
    told.setdefault("execution", run.status.arn)
    parameters = run.lineage.parameters
    given = tables.Table(
        "The parameters of the execution",
        ["parameter", "value"],
        [[text(one), text(value)] for one, value in sorted(parameters.items())],
    )
    shown = (
        tables.data(run.lineage),
        given if parameters else None,
        tables.hyperparameters(run.lineage),
    )
    inner = "".join(table(*one) for one in shown if one)
    return described(told) + (folded("Parameters and data", inner) if inner else "")


def _moment(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M:%S %Z}".strip()


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
