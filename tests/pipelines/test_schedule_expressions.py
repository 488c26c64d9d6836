"""EventBridge's expressions, read as its user guide describes them."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from pipelines.schedule_expressions import checked, cron, rate_seconds


@pytest.mark.parametrize(
    ("expression", "seconds"),
    [
        ("rate(1 minute)", 60),
        ("rate(15 minutes)", 900),
        ("rate(2 hours)", 7200),
        ("rate(1 day)", 86_400),
        ("rate(7 days)", 604_800),
        ("rate(1 minutes)", None),
        ("rate(0 minutes)", None),
        ("rate(5 minute)", None),
        ("rate(5 seconds)", None),
        ("cron(0 12 * * ? *)", None),
        ("", None),
    ],
)
def test_rates(expression: str, seconds: int | None) -> None:
    assert rate_seconds(expression) == seconds


@pytest.mark.parametrize(
    ("expression", "fires", "not_then"),
    [  # most of them are the examples of the user guide
        ("cron(0 10 * * ? *)", "2026-11-13 10:00", "2026-11-13 10:01"),
        ("cron(15 12 * * ? *)", "2026-11-13 12:15", "2026-11-13 00:15"),
        ("cron(0 18 ? * MON-FRI *)", "2026-11-13 18:00", "2026-11-14 18:00"),
        ("cron(0 8 1 * ? *)", "2026-12-01 08:00", "2026-12-02 08:00"),
        ("cron(0/15 * * * ? *)", "2026-11-13 03:45", "2026-11-13 03:50"),
        ("cron(0/10 * ? * MON-FRI *)", "2026-11-16 00:20", "2026-11-15 00:20"),
        ("cron(0/5 8-17 ? * MON-FRI *)", "2026-11-13 17:55", "2026-11-13 18:00"),
        ("cron(0-30/10,45 6 ? * 1 *)", "2026-11-15 06:45", "2026-11-15 06:40"),
        ("cron(0 6 ? nov,DEC SUN *)", "2026-12-06 06:00", "2026-10-04 06:00"),
        ("cron(0 0 29 2 ? *)", "2028-02-29 00:00", "2028-02-28 00:00"),
        ("cron(0 0 1 1 ? 2027-2028)", "2028-01-01 00:00", "2029-01-01 00:00"),
    ],
)
def test_a_cron_rule_fires_in_its_minutes(expression: str, fires: str, not_then: str) -> None:
    found = cron(expression)
    assert found
    for text, expected in ((fires, True), (not_then, False)):
        moment = datetime.strptime(text, "%Y-%m-%d %H:%M").replace(tzinfo=timezone.utc)
        assert found.fires_in(moment) is expected


@pytest.mark.parametrize(
    "expression",
    [
        *("", "weekly", "rate(7)", "cron(0 6 * * *)", "cron(0 6 ? * ? *)", "cron(0 6 1 * MON *)"),
        *("cron(60 6 * * ? *)", "cron(0 24 * * ? *)", "cron(0 6 0 * ? *)", "cron(0 6 * 13 ? *)"),
        *(
            "cron(0 6 ? * 8 *)",
            "cron(0 6 ? * FRI-MON *)",
            "cron(0 6 ? * MON/0 *)",
            "cron(x * * * ? *)",
        ),
        *("cron(0 6 L * ? *)", "cron(0 6 3W * ? *)", "cron(0 6 ? * 6#3 *)", "cron(0,, 6 * * ? *)"),
        "cron(0  6 * * ? *)",
    ],
)
def test_what_is_no_schedule_is_refused_with_an_example(expression: str) -> None:
    with pytest.raises(ValueError, match=r"rate\(7 days\)"):
        checked(expression)
