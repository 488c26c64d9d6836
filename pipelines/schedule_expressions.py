"""EventBridge's schedule expressions: `rate(7 days)`, `cron(0 6 ? * MON *)`, in UTC.

From the EventBridge user guide, "Using cron and rate expressions to schedule rules". Of cron's
wildcards L, W and # are left out, which say the last, the nearest and the n-th day.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

_RATE = re.compile(r"rate\((?:(1) (minute|hour|day)|([2-9]|[1-9]\d+) (minutes|hours|days))\)")
_SECONDS = {"minute": 60, "hour": 3600, "day": 86_400}
_CRON = re.compile(r"cron\((\S+(?: \S+){5})\)")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_FIELDS = (  # least, greatest, names of the values from the least on
    (0, 59, ()),
    (0, 23, ()),
    (1, 31, ()),
    (1, 12, _MONTHS),
    (1, 7, _DAYS),
    (1970, 2199, ()),
)


@dataclass(frozen=True)
class Cron:
    """The minutes at which a rule fires."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]  # of the month
    months: frozenset[int]
    weekdays: frozenset[int]  # 1 is Sunday
    years: frozenset[int]

    def fires_in(self, moment: datetime) -> bool:
        """Whether it fires in the minute of a moment, which is in UTC."""
        return (
            moment.minute in self.minutes
            and moment.hour in self.hours
            and moment.day in self.days
            and moment.month in self.months
            and moment.isoweekday() % 7 + 1 in self.weekdays
            and moment.year in self.years
        )


def rate_seconds(expression: str) -> int | None:
    """The seconds of a rate expression, None for anything else."""
    found = _RATE.fullmatch(expression)
    if not found:
        return None
    value, unit = int(found[1] or found[3]), found[2] or found[4].removesuffix("s")
    return value * _SECONDS[unit]


def cron(expression: str) -> Cron | None:
    """A cron expression, None for anything else, one with L, W or # included."""
    found = _CRON.fullmatch(expression)
    if not found:
        return None
    texts = found[1].split(" ")
    if [texts[2], texts[4]].count("?") != 1:  # a day is told in one of the two ways
        return None
    try:
        return Cron(*(_values(text, *field) for text, field in zip(texts, _FIELDS, strict=True)))
    except ValueError:
        return None


def checked(expression: str) -> str:
    """The expression, if it is one.

    Raises
    ------
    ValueError
        It is none that this project understands.
    """
    if rate_seconds(expression) is None and cron(expression) is None:
        raise ValueError(
            'expected a schedule as "rate(7 days)" or "cron(0 6 ? * MON *)": minutes, hours, day '
            "of the month, month, day of the week, year, in UTC, one of the two days a ?"
        )
    return expression


def _values(text: str, least: int, greatest: int, names: tuple[str, ...]) -> frozenset[int]:
    """What a field such as `0-30/10,45` or `MON-FRI` stands for."""
    values: set[int] = set()
    for part in text.split(","):
        span, slash, step = part.partition("/")
        first, dash, last = span.partition("-")
        if span in ("*", "?"):
            low, high = least, greatest
        else:
            low = _number(first, least, greatest, names)
            high = _number(last, least, greatest, names) if dash else (greatest if slash else low)
        if low > high or (slash and not (step.isdecimal() and int(step))):
            raise ValueError(part)
        values |= set(range(low, high + 1, int(step) if slash else 1))
    return frozenset(values)


def _number(text: str, least: int, greatest: int, names: tuple[str, ...]) -> int:
    value = names.index(text.upper()) + least if text.upper() in names else int(text)
    if not least <= value <= greatest:
        raise ValueError(text)
    return value
