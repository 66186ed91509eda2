"""The budget's line: what it says is Σ replica-seconds (P12), periods in UTC, what may still be added."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core import budget
from services.core.budget import HOUR_MS, Line, advance, affordable, cap, period, projected, state, weighted

DAY_MS = 24 * HOUR_MS


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


NOON = ms("2026-11-24T12:00:00")  # a Tuesday


@pytest.mark.parametrize(
    ("per", "begin", "end"),
    [
        ("Day", "2026-11-24T00:00:00", "2026-11-25T00:00:00"),
        ("Week", "2026-11-23T00:00:00", "2026-11-30T00:00:00"),
        ("Month", "2026-11-01T00:00:00", "2026-12-01T00:00:00"),
    ],
)
def test_periods(per, begin, end):
    """Days, weeks from Monday, months; UTC."""
    assert period(NOON, per) == (ms(begin), ms(end))


def test_the_line_stands_while_nothing_changes():
    """The same object, so nothing is written; another rate bends it, another period begins it anew."""
    line = advance(None, NOON, "Day", 4)
    assert line == Line(NOON - 12 * HOUR_MS, NOON, 0, 4)
    assert advance(line, NOON + 5, "Day", 4) is line
    bent = advance(line, NOON + HOUR_MS, "Day", 6)
    assert (bent.used, bent.rate, bent.at(NOON + 2 * HOUR_MS)) == (4 * HOUR_MS, 6, 10 * HOUR_MS)
    tomorrow = advance(bent, NOON + 13 * HOUR_MS, "Day", 6)
    assert (tomorrow.start_ms, tomorrow.used) == (NOON + 12 * HOUR_MS, 6 * HOUR_MS)


def test_another_period_keeps_what_it_can_know():
    """Day to week: what was counted counts; week to day: from the moment the line is known."""
    line = Line(NOON - 12 * HOUR_MS, NOON, 7 * HOUR_MS, 2)
    week = advance(line, NOON + HOUR_MS, "Week", 2)
    assert (week.start_ms, week.used) == (ms("2026-11-23T00:00:00"), 9 * HOUR_MS)
    day = advance(week, NOON + 3 * HOUR_MS, "Day", 2)
    assert (day.start_ms, day.used) == (NOON - 12 * HOUR_MS, 4 * HOUR_MS)


@pytest.mark.parametrize(
    ("used", "capped", "expected"),
    [(79, False, "Ok"), (80, False, "Warning"), (120, False, "Warning"), (1, True, "Capped")],
)
def test_state(used, capped, expected):
    """Warning from 80 percent of what is allowed; Capped while an increase is cut."""
    assert state(Line(0, 0, used * HOUR_MS), 0, 100, capped=capped) == expected


def test_what_is_left():
    """100 hours, 40 used, 12 hours to go: five replicas; never less than none; projection in whole hours."""
    line = Line(0, 0, 40 * HOUR_MS, 3)
    assert affordable(line, 0, 12 * HOUR_MS, 100) == 5
    assert affordable(line, 0, 12 * HOUR_MS, 30) == 0
    assert affordable(line, 0, 0, 41) == HOUR_MS
    assert projected(line, 12 * HOUR_MS) == 76


def test_the_cap_of_one_component():
    """What the others weigh is taken off; a component that costs nothing has no cap."""
    assert weighted({"api": 3, "worker": 4}, {"api": 2, "worker": 1}) == 10
    assert cap(20, [(1, 4), (2, 3)], 2) == 5
    assert cap(5, [(1, 9)], 1) == 0
    assert cap(5, [(1, 9)], 0) is None


@given(st.lists(st.tuples(st.integers(1, 600_000), st.integers(0, 500)), max_size=40))
def test_p12_the_line_is_the_sum_of_replica_seconds(steps):
    """Whenever the rate changes, and however often it is asked."""
    now, line, spent = NOON, advance(None, NOON, "Month", 0), 0
    for wait, rate in steps:
        spent += line.rate * wait
        now += wait
        assert line.at(now) == spent
        line = advance(line, now, "Month", rate)
    assert line.at(now) == spent
    assert budget.affordable(line, now, now + HOUR_MS, 10**9) >= 0
