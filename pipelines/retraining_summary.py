"""What is told of a retraining: Markdown for CI's summary page, a document for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any
from urllib.parse import quote

from pipelines.counts import many
from pipelines.execution_status import StepStatus
from pipelines.job_costs import PRICES_OF, JobCost
from pipelines.retraining import Report, is_train_cached
from pipelines.symptoms import UNKNOWN

_SHOWN_CLASSES = 30
_FIGURES = ("accuracy", "macro_f1", "weighted_f1", "worst_class_recall", "calibration_error")


def headline(report: Report) -> str:
    """What has come of it, in one sentence."""
    return f"{'' if report.decision.outcome != 'unchanged' else 'Nothing to do: '}{_end(report)}"


def next_step(report: Report) -> str:
    """What a person should do now."""
    name = report.status.id
    if report.outcome == "registered":
        if report.version is None or report.approval == "Rejected":
            return "Nothing."
        if report.approval == "Approved":
            return f"Nothing: version {report.version} is approved."
        return (
            f"Look at it with `claimflow model show {report.version}`, then "
            f'`claimflow model approve {report.version} --why "…"` or '
            f'`claimflow model reject {report.version} --why "…"`.'
        )
    if report.outcome == "rejected":
        return "More or better labelled data (`claimflow data add`), or other parameters."
    if report.outcome == "running":
        return "A second `claimflow retrain` follows it to its end."
    more = f"`claimflow pipeline diagnose {name}` shows more, its log too."
    if report.diagnosis is None or not report.diagnosis.advice:
        return more
    told = f"{report.diagnosis.cause}: {report.diagnosis.advice}. {more}"
    if report.diagnosis.symptom == UNKNOWN.symptom:
        return told[0].upper() + told[1:]
    return f"Likely {told}"


def same_model(report: Report) -> str:
    """That this model was there before, where it was not trained anew; else empty."""
    if report.decision.outcome == "unchanged" or not is_train_cached(report.status):
        return ""
    if report.same_as is None:
        return "Train was cached: this is the same model as that of an earlier execution."
    return f"Train was cached: this is the same model as version {report.same_as}."


def document(report: Report) -> dict[str, Any]:
    """The report for programs."""
    decision = asdict(report.decision)
    jobs = [{**asdict(one), "dollars": one.dollars} for one in report.costs]
    return {
        "outcome": report.outcome,
        "sentence": headline(report),
        "next": next_step(report),
        "cause": report.request.cause,
        "commit": report.request.commit,
        "decision": decision.pop("outcome"),
        **decision,
        "status": report.status.status,
        "reason": report.status.reason,
        "steps": [{**asdict(one), "seconds": one.seconds} for one in report.status.steps],
        "evaluation": report.evaluation,
        "bars": [asdict(one) for one in report.bars],
        "estimate": {"dollars": _dollars(report.costs), "prices_of": PRICES_OF, "jobs": jobs},
        "version": report.version,
        "approval": report.approval,
        "same_as": report.same_as,
    }


def markdown(report: Report, region: str | None = None) -> str:
    """The report for people; with a region, links to AWS's console."""
    parts = [
        f"## Retraining: {_cell(headline(report))}",
        same_model(report),
        _origin(report),
        _changes(report),
    ]
    if report.status.steps:
        parts.append(_steps(report, region))
    if report.bars:
        parts.append(_bars(report))
    if report.evaluation:
        parts += [_figures(report.evaluation), _classes(report.evaluation)]
    if report.costs:
        parts.append(_costs(report.costs, region is not None))
    parts.append(f"### Next\n\n{next_step(report)}")
    return "\n\n".join(part for part in parts if part) + "\n"


def _end(report: Report) -> str:
    name = report.status.id
    if report.outcome == "registered":
        if report.version is None:
            return f"execution {name} succeeded"
        told = {"PendingManualApproval": "waits for approval", "Approved": "is approved"}
        state = told.get(report.approval or "", f"is {report.approval}")
        return f"version {report.version} is registered and {state}"
    if report.outcome == "rejected":
        missed = "; ".join(bar.sentence for bar in report.bars if not bar.passed)
        return f"the model was rejected: {missed or report.status.reason}"
    if report.outcome == "running":
        return f"execution {name} goes on"
    return f"execution {name}: {report.status.sentence}"


def _origin(report: Report) -> str:
    decision = report.decision
    rows = [
        ["cause", report.request.cause],
        ["commit", report.request.commit or "that of the last execution"],
        ["execution", decision.execution],
        ["data version", f"{decision.data_version} ({decision.manifest})"],
    ]
    if decision.previous and decision.previous != decision.execution:
        rows.append(["before it", f"{decision.previous} ({decision.previous_outcome})"])
    return _table(["", ""], rows)


def _changes(report: Report) -> str:
    decision = report.decision
    changes = decision.changes
    if decision.outcome == "unchanged" and changes:
        return (
            "### What has changed\n\nNothing since this execution; since the newest:\n\n"
            + "\n".join(f"- {_cell(one)}" for one in changes)
        )
    told = "\n".join(f"- {_cell(one)}" for one in changes) if changes else "Nothing."
    return f"### What has changed\n\n{told}"


def _steps(report: Report, region: str | None) -> str:
    jobs = {cost.step: cost for cost in report.costs}
    rows = []
    for step in report.status.steps:
        state = f"{step.status} (cached)" if step.is_cached else step.status
        time = "" if step.seconds is None else f"{step.seconds:.0f} s"
        link = _link(step, jobs.get(step.name), region)
        rows.append([link, state, time, step.reason])
    return "### Steps\n\n" + _table(["step", "state", "time", "reason"], rows)


def _bars(report: Report) -> str:
    rows = []
    for bar in report.bars:
        figures = [f"{bar.reached:.4f}", f"{bar.bar:.4f}"]
        rows.append([bar.name, *figures, "yes" if bar.passed else "**no**", bar.sentence])
    return "### Bars\n\n" + _table(["bar", "reached", "bar at", "passed", "in words"], rows)


def _figures(evaluation: Mapping[str, Any]) -> str:
    challenger, champion = evaluation["challenger"], evaluation.get("champion")
    rows = [
        [
            name.replace("_", " "),
            f"{challenger[name]:.4f}",
            f"{champion[name]:.4f}" if champion else "",
            f"{challenger[name] - champion[name]:+.4f}" if champion else "",
        ]
        for name in _FIGURES
        if name in challenger
    ]
    text = "### Figures\n\n" + _table(["", "this model", "champion", "difference"], rows)
    return "\n\n".join([text, *_certainty(evaluation["comparison"])])


def _certainty(comparison: Mapping[str, Any]) -> Iterator[str]:
    """How sure the difference from the champion is."""
    if not comparison["has_champion"]:
        yield "There is no champion yet."
    if "p_value" not in comparison or not comparison["has_champion"]:
        return  # an execution of an older version of the pipeline has no intervals
    f1 = comparison["macro_f1"]
    yield (
        "On the same rows, only this model is right "
        f"{many(comparison['only_challenger_right'], 'time')} and only the champion "
        f"{many(comparison['only_champion_right'], 'time')} (McNemar's test: "
        f"p = {comparison['p_value']:.3g}). With 95 % confidence the loss of accuracy is between "
        f"{comparison['regression_low']:+.4f} and {comparison['regression_high']:+.4f}, and macro "
        f"F1 changes by {f1['low']:+.4f} to {f1['high']:+.4f}."
    )


def _classes(evaluation: Mapping[str, Any]) -> str:
    """Which classes are found better and worse than by the champion, the worst first."""
    classes = evaluation["comparison"].get("classes")
    if not classes:
        return ""
    ordered = sorted(classes.items(), key=lambda item: item[1]["challenger"] - item[1]["champion"])
    worst, best = ordered[: _SHOWN_CLASSES // 2], ordered[_SHOWN_CLASSES // 2 :]
    shown = worst + best[-(_SHOWN_CLASSES // 2) :]
    rows = []
    for label, one in shown:
        change = one["challenger"] - one["champion"]
        word = "better" if change > 0 else "worse" if change < 0 else "same"
        recalls = [f"{one['challenger']:.4f}", f"{one['champion']:.4f}"]
        rows.append([label, str(one["support"]), *recalls, f"{change:+.4f}", word])
    head = ["class", "rows", "recall", "champion's", "difference", ""]
    left = len(ordered) - len(shown)
    between = "class between them is" if left == 1 else "classes between them are"
    more = f"\n\n{left} {between} left out." if left else ""
    return "### Classes\n\n" + _table(head, rows) + more


def _costs(costs: Sequence[JobCost], is_on_aws: bool) -> str:
    rows = [
        [
            one.step,
            f"{one.instance_count} × {one.instance_type}",
            f"{one.billed_seconds:.0f} s",
            "no price known" if one.dollars is None else f"${one.dollars:.4f}",
        ]
        for one in costs
    ]
    where = (
        "" if is_on_aws else " This ran on a local cloud: on AWS the same seconds would cost it."
    )
    total = f"Together about **${_dollars(costs):.4f}**, by on-demand prices of us-east-1, "
    return (
        "### Cost, an estimate\n\n"
        + _table(["step", "machines", "billed", "cost"], rows)
        + f"\n\n{total}{PRICES_OF}; steps that were cached cost nothing.{where}"
    )


def _dollars(costs: Sequence[JobCost]) -> float:
    return sum(one.dollars or 0.0 for one in costs)


def _link(step: StepStatus, job: JobCost | None, region: str | None) -> str:
    if job is None or region is None:
        return step.name
    page = {"TrainingJob": "jobs", "ProcessingJob": "processing-jobs"}.get(step.type)
    if page is None:
        return step.name
    console = f"https://{region}.console.aws.amazon.com/sagemaker/home?region={region}"
    return f"[{step.name}]({console}#/{page}/{quote(job.job)})"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([_cell(one) for one in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    """Text from outside, so that it stays in its cell, or on its line."""
    plain = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    return plain.replace("|", "\\|").replace("<", "&lt;")
