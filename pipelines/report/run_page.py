"""The report on an execution as a page."""

from __future__ import annotations

from datetime import datetime

from pipelines.execution_status import StepStatus
from pipelines.page import (
    described,
    figures,
    folded,
    items,
    name,
    page,
    paragraph,
    scrolled,
    section,
    table,
    text,
)
from pipelines.registry import facts, tables
from pipelines.report.charts import Interval, Line, calibration, curves, intervals
from pipelines.report.flow import STATES, Node, drawn
from pipelines.report.run import Run

MATRIX = 12  # labels up to which the confusions are a matrix
MOST_CONFUSIONS = 20
_FOOT = (
    "Made at {} of what was known then. It holds no text of a claim: rows are named by their "
    "numbers."
)
_LABEL = 60  # characters of a label in a cell

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
        "How it learnt": _learning(run),
        "How good the model is": _measures(run),
        "What it confuses": _confusions(run),
        "How sure it is": _calibration(run),
        "Its surest mistakes": _mistakes(run),
        "How it was made": _made(run),
        "What is not known": items(run.missing) if run.missing else "",
    }
    shown = {heading: part for heading, part in parts.items() if part}
    places = (section(heading, part) for heading, part in shown.items())
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
            f"<footer>{paragraph(_FOOT.format(_moment(run.made_at)))}</footer>",
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
    started = [one.started for one in run.status.steps if one.started]
    if not started:
        return "No step has begun."
    ends = [one.ended for one in run.status.steps if one.ended]
    if not (run.status.has_ended and ends):
        return f"Began at {_moment(min(started))}."
    seconds = (max(ends) - min(started)).total_seconds()
    return f"From {_moment(min(started))} to {_moment(max(ends))}, {_duration(seconds)}."


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


def _learning(run: Run) -> str:
    if not run.epochs:
        if any(step.name == "Train" for step in run.status.steps):
            return paragraph("The log of Train tells no epoch, or is gone.")
        return ""
    charts = "".join(
        _curves(run, ident, title, lines)
        for ident, title, lines in (
            (
                "loss",
                "Loss: less is better",
                {
                    "train_loss": ("training", "second", "6 4"),
                    "val_loss": ("validation", "bar", ""),
                },
            ),
            (
                "score",
                "On the validation rows: more is better",
                {
                    "val_accuracy": ("accuracy", "bar", ""),
                    "val_macro_f1": ("macro F1", "second", "6 4"),
                },
            ),
        )
    )
    names = list(dict.fromkeys(one for told in run.epochs.values() for one in told))
    rows = [
        [str(epoch), *(f"{told[one]:.4g}" if one in told else "–" for one in names)]
        for epoch, told in run.epochs.items()
    ]
    header = ["epoch>", *(f"{text(one.replace('_', ' '))}>" for one in names)]
    best = _best(run)
    return (
        (paragraph(best) if best else "")
        + f'<div class="charts">{charts}</div>'
        + folded("Each epoch as a table", table("What Train printed", header, rows))
    )


def _best(run: Run) -> str:
    losses = {epoch: told["val_loss"] for epoch, told in run.epochs.items() if "val_loss" in told}
    if not losses:
        return ""
    best = min(losses, key=lambda epoch: losses[epoch])
    return (
        f"{len(run.epochs)} {'epoch' if len(run.epochs) == 1 else 'epochs'}; the loss on the "
        f"validation rows was least after epoch {best}: {losses[best]:.4f}."
    )


def _curves(run: Run, ident: str, title: str, given: dict[str, tuple[str, str, str]]) -> str:
    lines = [
        Line(words, colour, dashes, points)
        for figure, (words, colour, dashes) in given.items()
        if (points := [(n, told[figure]) for n, told in run.epochs.items() if figure in told])
    ]
    if not lines:
        return ""
    told = " ".join(
        f"{line.name}: {line.points[0][1]:.4f} after epoch {line.points[0][0]}, "
        f"{line.points[-1][1]:.4f} after epoch {line.points[-1][0]}."
        for line in lines
    )
    return curves(ident, title, told, lines)


def _measures(run: Run) -> str:
    if not run.is_evaluated:
        return paragraph("It was not evaluated: there is no figure of a model.")
    gate = [
        [
            text(one.name),
            '<span class="good">✓ reached</span>'
            if one.passed
            else '<span class="bad">✗ missed</span>',
            text(one.sentence),
        ]
        for one in run.bars
    ]
    parts = [table("The bars of the gate", ["bar", "outcome", "how far"], gate) if gate else ""]
    figures = tables.figures(run.lineage, "this run", "the champion of that time")
    classes = tables.classes(run.lineage)
    parts += [_intervals(run), table(*figures) if figures else tables.NO_FIGURE]
    parts.append(table(*classes) if classes else "")
    return "".join(parts)


def _intervals(run: Run) -> str:
    compared = run.lineage.evaluation["comparison"]
    if not compared.get("has_champion") or "regression_low" not in compared:
        return ""
    macro = compared.get("macro_f1") or {}
    given = [
        Interval(
            "accuracy",
            -compared["regression"],
            -compared["regression_high"],
            -compared["regression_low"],
        )
    ]
    if macro:
        given.append(Interval("macro F1", macro["difference"], macro["low"], macro["high"]))
    told = " ".join(f"{i.name} {i.value:+.4f}, {i.low:+.4f} to {i.high:+.4f}." for i in given)
    title = "What it gains on the champion, with intervals of 95 %"
    return f'<div class="charts">{intervals("gain", title, told, given)}</div>'


def _confusions(run: Run) -> str:
    matrix = run.confusion
    if not matrix:
        return ""
    if len(matrix) <= MATRIX:
        return _matrix(matrix)
    found = [
        (count, label, other)
        for label, row in matrix.items()
        for other, count in row.items()
        if count and other != label
    ]
    if not found:
        return paragraph("It confused no labels.")
    totals = {label: sum(row.values()) for label, row in matrix.items()}
    found.sort(key=lambda one: (-one[0], one[1], one[2]))
    rows = [
        [
            name(label, _LABEL),
            name(other, _LABEL),
            f"{count:,}",
            f"{count / totals[label]:.1%}",
        ]
        for count, label, other in found[:MOST_CONFUSIONS]
    ]
    shown = f": {MOST_CONFUSIONS} of {len(found):,}" if len(found) > MOST_CONFUSIONS else ""
    header = ["label", "taken for", "rows>", "of the label>"]
    return table(f"The most frequent confusions{shown}", header, rows)


def _matrix(matrix: dict[str, dict[str, int]]) -> str:
    head = "".join(f'<th scope="col" class="number">{name(label, 24)}</th>' for label in matrix)
    rows = []
    for label, row in matrix.items():
        total = sum(row.values())
        cells = "".join(_cell(count, total, other == label) for other, count in row.items())
        rows.append(f'<tr><th scope="row">{name(label, 24)}</th>{cells}</tr>')
    upright = " upright" if len(matrix) > 4 else ""
    caption = "Each row is a label, each column what its rows were taken for"
    inner = (
        f'<table class="matrix{upright}"><caption>{caption}; the stronger '
        "the colour, the larger the share of the row"
        f"</caption><thead><tr><td></td>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )
    return scrolled(inner, caption)


def _cell(count: int, total: int, is_right: bool) -> str:
    share = count / total if total else 0.0
    css = ' class="right"' if is_right else ""
    return f'<td{css} style="--share:{share:.3f}">{f"{count:,}" if count else "·"}</td>'


def _calibration(run: Run) -> str:
    if not run.is_evaluated:
        return ""
    if run.reliability is None:
        return paragraph("This evaluation does not tell how right it is by how sure it is.")
    bins = run.reliability
    sentence = "A confidence means what it says where the line keeps to the diagonal."
    error = run.lineage.evaluation["challenger"].get("calibration_error")
    if error is not None:
        sentence += f" On average the two are {100 * error:.1f} points apart."
    rows = [
        [
            f"{one.confidence:.1%}",
            f"{one.accuracy:.1%}",
            f"{one.rows:,}",
            f"{100 * (one.accuracy - one.confidence):+.1f}",
        ]
        for one in bins
    ]
    told = " ".join(
        f"Of {one.rows:,} rows with a confidence of about {one.confidence:.0%}, "
        f"{one.accuracy:.0%} are right."
        for one in bins
    )
    drawing = calibration(
        "calibration",
        "How often it is right, by how sure it is; a dot's size is its share of the rows",
        told,
        [(one.confidence, one.accuracy, one.rows) for one in bins],
    )
    header = ["confidence>", "right>", "rows>", "points apart>"]
    return (
        paragraph(sentence)
        + f'<div class="charts">{drawing}</div>'
        + folded("The bins as a table", table("Bins of confidence", header, rows))
    )


def _mistakes(run: Run) -> str:
    if not run.is_evaluated:
        return ""
    if run.mistakes is None:
        return paragraph("This evaluation does not tell which rows were wrong.")
    if not run.mistakes:
        return paragraph("It made no mistake on the test set.")
    rows = [
        [
            f"{one.row:,}",
            name(one.label, _LABEL),
            name(one.predicted, _LABEL),
            f"{one.confidence:.1%}",
        ]
        for one in run.mistakes
    ]
    where = run.lineage.noted("test_data")
    note = (
        "Look at these rows first: a wrong label in the test set is often among them. Rows are "
        "counted from 1 after the header, through all files of the test set by name."
    )
    return (
        paragraph(note)
        + (described({"test set": where}) if where else "")
        + table(
            "Wrong rows, the surest first",
            ["row>", "its label", "taken for", "confidence>"],
            rows,
        )
    )


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
