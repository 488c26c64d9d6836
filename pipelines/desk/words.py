"""States, moments and sizes in words for people who do not program."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from pipelines.execution_status import ExecutionStatus, StepStatus
from pipelines.registry.facts import FIGURES as MORE_IS_BETTER
from pipelines.upload_state import State

# Of each its sign and its colour (a class of the style): no state is told by colour alone.
Mark = tuple[str, str, str]  # sign, colour, words

STEPS = {
    "Validate": "checks the labelled claims",
    "Champion": "looks up the model of today",
    "Train": "learns from the claims",
    "Evaluate": "judges the new model, and the one of today, on the same claims",
    "ModelGate": "compares the figures with the bars",
    "Register": "hands the model over for approval",
    "ModelRejected": "ends the run: the model missed a bar",
}
_STATES: dict[str, Mark] = {
    "Succeeded": ("✓", "good", "done"),
    "Failed": ("✗", "bad", "failed"),
    "Executing": ("…", "busy", "under way"),
    "Starting": ("…", "busy", "starting"),
    "Stopping": ("■", "edge", "stopping"),
    "Stopped": ("■", "edge", "stopped"),
}
_UPLOADS: dict[State, Mark] = {
    "predicted": ("✓", "good", "ready"),
    "failed": ("✗", "bad", "failed"),
    "running": ("…", "busy", "under way"),
    "waiting": ("■", "edge", "waits for a model to be approved"),
    "unhandled": ("…", "busy", "arrived, not begun yet"),
    "unreadable": ("✗", "bad", "its records are damaged"),
}
_APPROVALS: dict[str, Mark] = {
    "PendingManualApproval": ("■", "edge", "waits for a decision"),
    "Approved": ("✓", "good", "approved"),
    "Rejected": ("✗", "bad", "rejected"),
}
FILES = {
    "predictions.": "your claims, with label, confidence and whether a person should look",
    "report.html": "what was predicted, as a page",
    "rejects.csv": "the rows that could not be predicted, and why",
    "manifest.json": "the receipt, for programs",
}
FIGURES = {
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "worst_class_recall": "worst label",
    "calibration_error": "calibration error",
}


def step(found: StepStatus) -> Mark:
    sign, colour, told = _mark(_STATES, found.status)
    return sign, colour, "done before" if found.is_cached else told


def run(found: ExecutionStatus) -> Mark:
    """How a run is, in a few words."""
    if found.is_rejected:
        return "■", "edge", "the model missed a bar"
    sign, colour, told = _mark(_STATES, found.status)
    step = found.failed_step
    if found.status == "Failed" and step:
        return sign, colour, f"failed at {step.name}"
    now = [one.name for one in found.steps if one.status in ("Starting", "Executing")]
    if not found.has_ended and now:
        return sign, colour, f"under way: {' and '.join(now)}"
    return sign, colour, told


def run_reason(found: ExecutionStatus) -> str:
    """Why a run ended so; empty where there is nothing to tell."""
    if found.is_rejected:
        return "; ".join(found.missed) or found.reason
    step = found.failed_step
    return step.own_words if step else found.reason


def upload(state: State) -> Mark:
    return _UPLOADS[state]


def approval(status: str) -> Mark:
    return _mark(_APPROVALS, status)


def _mark(known: Mapping[str, Mark], status: str) -> Mark:
    """AWS may come to know more states than we do."""
    return known.get(status, ("–", "soft", status.lower()))


class Figure(NamedTuple):
    """A figure as it is shown, and its colour, sign and words beside the model that predicts: empty
    where there is nothing to compare."""

    name: str
    shown: str
    colour: str = ""
    sign: str = ""
    told: str = ""


def compared(figures: Mapping[str, float], predicting: Mapping[str, float] | None) -> list[Figure]:
    """The figures of a model beside those of the one that predicts; `–` is what is not known."""
    return [_compared(name, figures.get(name), (predicting or {}).get(name)) for name in FIGURES]


def _compared(name: str, value: float | None, now: float | None) -> Figure:
    words = FIGURES[name]
    if value is None:
        return Figure(words, "–")
    shown = f"{value:.3f}" if name == "macro_f1" else share(value)
    if now is None or now == value:
        return Figure(words, shown)
    if (value > now) == MORE_IS_BETTER[name]:
        return Figure(words, shown, "good", "▲", "better than")
    return Figure(words, shown, "bad", "▼", "worse than")


def share(value: float) -> str:
    return f"{100 * value:.1f}\N{NO-BREAK SPACE}%"


def file(name: str) -> str:
    return next((told for begin, told in FILES.items() if name.startswith(begin)), "")


def rank(name: str) -> int:
    """The place of a result among the others: what people want first."""
    known = [place for place, begin in enumerate(FILES) if name.startswith(begin)]
    return known[0] if known else len(FILES)


def who(arn: str) -> str:
    """Whom an ARN names, without what they all begin with."""
    return arn.rpartition(":")[2] or "somebody"


def moment(when: datetime | str | None) -> str:
    """A point in time where this machine is."""
    if isinstance(when, str):
        try:
            when = datetime.fromisoformat(when.replace("Z", "+00:00"))
        except ValueError:
            return ""
    if when is None:
        return ""
    local = when.astimezone()
    return f"{local.day} {local:%B %Y, %H:%M}"


def since(when: datetime | None) -> str:
    """How long ago something was, roughly."""
    if when is None:
        return ""
    seconds = (datetime.now(when.tzinfo) - when).total_seconds()
    if seconds < 60:
        return "just now"
    for unit, length in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'' if count == 1 else 's'} ago"
    return ""


def duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes = int(seconds // 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def size(count: int | None) -> str:
    """Bytes as people read them."""
    if count is None:
        return ""
    for unit, length in (("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if count >= length:
            return f"{count / length:.1f} {unit}"
    return f"{count} bytes"


def shares(counts: dict[str, Any], most: int = 12) -> list[tuple[str, int, float]]:
    """Labels with their rows and their share of all, the most frequent first."""
    known = {label: int(count) for label, count in counts.items()}
    total = sum(known.values()) or 1
    ranked = sorted(known.items(), key=lambda one: (-one[1], one[0]))
    return [(label, count, count / total) for label, count in ranked[:most]]
