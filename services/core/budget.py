"""Replica-hours of a period against what is allowed (operator.md §1, §5.5 step 9): a line, and what is left of it.

`Line` says how much was used at a moment and how fast it grows; between two changes of the fleet nothing has to be
written. Amounts are weighted replica-milliseconds, whole numbers, so that adding them up never drifts.

Caller: controller.budgets, once a tick; the controller's record keeps the `Line`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

HOUR_MS: Final = 3_600_000
WARNING_PERCENT: Final = 80
Per = Literal["Day", "Week", "Month"]
State = Literal["Ok", "Warning", "Capped"]


@dataclass(frozen=True, slots=True)
class Line:
    """`used` replica-milliseconds since `start_ms` until `as_of_ms`; from then on `rate` weighted replicas run."""

    start_ms: int
    as_of_ms: int
    used: int = 0
    rate: int = 0

    def at(self, now_ms: int) -> int:
        """Used until now, in replica-milliseconds."""
        return self.used + self.rate * max(0, now_ms - self.as_of_ms)


def period(now_ms: int, per: Per) -> tuple[int, int]:
    """Begin and end of the period that `now` is in: UTC days, weeks from Monday, months."""
    day = datetime.fromtimestamp(now_ms / 1000, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if per == "Day":
        begin, end = day, day + timedelta(days=1)
    elif per == "Week":
        begin = day - timedelta(days=day.weekday())
        end = begin + timedelta(days=7)
    else:
        begin = day.replace(day=1)
        end = (begin + timedelta(days=32)).replace(day=1)
    return round(begin.timestamp() * 1000), round(end.timestamp() * 1000)


def advance(line: Line | None, now_ms: int, per: Per, rate: int) -> Line:
    """The line from now on: the same object while nothing changed, a new one when the rate or the period did."""
    begin, _ = period(now_ms, per)
    if line is None:
        return Line(begin, now_ms, 0, rate)
    if line.start_ms < begin:  # another period: what ran since it began, as far as the line knows
        return Line(begin, now_ms, line.rate * (now_ms - max(begin, line.as_of_ms)), rate)
    if (line.start_ms, line.rate) == (begin, rate):
        return line
    return Line(begin, now_ms, line.at(now_ms), rate)


def state(line: Line, now_ms: int, allowed_hours: int, *, capped: bool) -> State:
    """Warning from 80 percent; Capped while an increase is cut."""
    if capped:
        return "Capped"
    return "Warning" if line.at(now_ms) * 100 >= WARNING_PERCENT * allowed_hours * HOUR_MS else "Ok"


def projected(line: Line, end_ms: int) -> int:
    """Whole replica-hours at the end of the period, if nothing changes."""
    return line.at(end_ms) // HOUR_MS


def affordable(line: Line, now_ms: int, end_ms: int, allowed_hours: int) -> int:
    """Weighted replicas that may run until the end of the period without using more than is allowed."""
    left = allowed_hours * HOUR_MS - line.at(now_ms)
    return max(0, left // max(1, end_ms - now_ms))


def weighted(replicas: Mapping[str, int], weights: Mapping[str, int]) -> int:
    """Σ weight · replicas."""
    return sum(weights[name] * count for name, count in replicas.items())


def cap(total: int, others: Sequence[tuple[int, int]], weight: int) -> int | None:
    """The most replicas of one component: `total` less (weight, replicas) of the others; None = it costs nothing."""
    if not weight:
        return None
    return max(0, total - sum(cost * count for cost, count in others)) // weight
