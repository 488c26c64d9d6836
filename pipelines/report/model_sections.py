"""The parts of a run's page that are about its model: how it learnt, and how good it is."""

from __future__ import annotations

from pipelines.counts import many
from pipelines.page import described, folded, name, paragraph, scrolled, table, text
from pipelines.registry import facts, tables
from pipelines.report.charts import Interval, Line, calibration, curves, intervals
from pipelines.report.run import Run

MATRIX = 12  # labels up to which the confusions are a matrix
MOST_CONFUSIONS = 20
_LABEL = 60  # characters of a label in a cell
_TEXT = 600  # of a claim


def learning(run: Run) -> str:
    """The figures of each epoch."""
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
        + (paragraph(_others(run)) if facts.descents(run.lineage) > 1 else "")
        + f'<div class="charts">{charts}</div>'
        + folded("Each epoch as a table", table("What Train printed", header, rows))
    )


def _best(run: Run) -> str:
    losses = {epoch: told["val_loss"] for epoch, told in run.epochs.items() if "val_loss" in told}
    if not losses:
        return ""
    best = min(losses, key=lambda epoch: losses[epoch])
    return (
        f"{many(len(run.epochs), 'epoch')}; the loss on the "
        f"validation rows was least after epoch {best}: {losses[best]:.4f}."
    )


def _others(run: Run) -> str:
    return (
        f"The model is the mean of {facts.descents(run.lineage)} descents; these figures are of "
        "the first, the only one that did not learn from the validation rows, too."
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


def measures(run: Run) -> str:
    """The bars, and the metrics beside those of the champion."""
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


def confusions(run: Run) -> str:
    """Which labels were taken for which."""
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


def sureness(run: Run) -> str:
    """How right it is by how sure it is."""
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
        f"Of {many(one.rows, 'row')} with a confidence of about {one.confidence:.0%}, "
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


def mistakes(run: Run) -> str:
    """The wrong rows that it was surest of."""
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
            *([text(run.texts.get(one.row, "–"), _TEXT)] if run.texts else []),
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
            ["row>", "its label", "taken for", "confidence>", *(["text"] if run.texts else [])],
            rows,
        )
    )
