"""Times at which a component has other bounds (operator.md §1, §5.5): cron entries with a time zone and a duration.

A cron match is a minute of the zone's wall clock. A minute that daylight saving skips counts at the next one that
exists; a minute that comes twice counts once, the first time. Day of month and day of week: as everywhere, either
suffices when both are restricted. Five fields of numbers, lists, ranges and steps; 0 and 7 are Sunday.

By hand because core is standard library only, and none of the cron packages has these rules for both DST edges. The
zone comes in as a `tzinfo`: reading the time zone database is the caller's.

Callers: schema.meaning, which names a cron that cannot be read; controller.timetable, when an edge passes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final

FIELDS: Final = (("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 7))
SEARCH_DAYS: Final = 366 * 8 + 1
"""The longest wait for 29 February, over a century that is no leap year; what comes later is not looked for."""
MAX_CHAIN: Final = 64
"""An entry that begins anew so often before it ends is taken as one without an end."""
DAY: Final = timedelta(days=1)
GAP: Final = timedelta(days=1, hours=2)
"""More than any zone ever skipped: a whole day, when one moved over the date line."""


@dataclass(frozen=True, slots=True)
class Cron:
    """Which minutes match. `either`: day of month and day of week are both restricted, and one of them suffices."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either: bool

    def on(self, day: date) -> bool:
        """Is there a match on that day?"""
        in_month, in_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return day.month in self.months and ((in_month or in_week) if self.either else (in_month and in_week))


def parse(text: str) -> Cron:
    """Read five fields; raises ValueError with a sentence that names the field and what would be right."""
    parts = text.split(" ")
    if len(parts) != len(FIELDS):
        raise ValueError(f"{text!r} has {len(parts)} fields; write minute, hour, day of month, month, day of week")
    sets = [_field(part, *field) for part, field in zip(parts, FIELDS, strict=True)]
    minutes, hours, days, months, weekdays = sets
    return Cron(
        tuple(sorted(minutes)),
        tuple(sorted(hours)),
        frozenset(days),
        frozenset(months),
        frozenset(day % 7 for day in weekdays),
        either=not parts[2].startswith("*") and not parts[4].startswith("*"),
    )


def _field(text: str, name: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for item in text.split(","):
        span, slash, step = item.partition("/")
        first, dash, last = span.partition("-")
        try:
            begin = low if span == "*" else int(first)
            end = high if span == "*" or (slash and not dash) else int(last if dash else first)
            every = int(step) if slash else 1
        except ValueError:
            raise ValueError(
                f"{name}: {item!r} is neither *, a number, a range like 1-5, nor one with a step"
            ) from None
        if not (low <= begin <= end <= high and every > 0):
            raise ValueError(f"{name}: {item!r} is outside {low}-{high}, backwards, or has a step of 0")
        found.update(range(begin, end + 1, every))
    return found


@dataclass(frozen=True, slots=True)
class Entry:
    """Bounds that stand for the component's own while active; None leaves one as it is."""

    name: str
    cron: Cron
    zone: tzinfo
    duration_ms: int
    minimum: int | None = None
    maximum: int | None = None


@dataclass(frozen=True, slots=True)
class Bounds:
    """The floor and the cap in force. `floor_by`, `cap_by`: the entries they come from, '' = the component's own."""

    minimum: int
    maximum: int
    floor_by: str = ""
    cap_by: str = ""


@dataclass(frozen=True, slots=True)
class Edge:
    """The next change: `name` begins or ends at `at_ms`; the bounds from then on."""

    name: str
    at_ms: int
    minimum: int
    maximum: int


def bounds(now_ms: int, minimum: int, maximum: int, entries: Sequence[Entry]) -> Bounds:
    """What holds now: later entries win, field by field; a cap below the floor is the floor."""
    floor_by = cap_by = ""
    for entry in active(now_ms, entries):
        if entry.minimum is not None:
            minimum, floor_by = entry.minimum, entry.name
        if entry.maximum is not None:
            maximum, cap_by = entry.maximum, entry.name
    return Bounds(minimum, max(minimum, maximum), floor_by, cap_by)


def active(now_ms: int, entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """The entries whose time it is, in their order."""
    return tuple(entry for entry in entries if last_start(now_ms, entry) is not None)


def next_edge(now_ms: int, minimum: int, maximum: int, entries: Sequence[Entry]) -> Edge | None:
    """The next moment at which an entry begins or ends, None when none is in sight."""
    found = [(at_ms, position) for position, entry in enumerate(entries) if (at_ms := _edge(now_ms, entry)) is not None]
    if not found:
        return None
    at_ms, position = min(found)
    then = bounds(at_ms, minimum, maximum, entries)
    return Edge(entries[position].name, at_ms, then.minimum, then.maximum)


def _edge(now_ms: int, entry: Entry) -> int | None:
    """When the entry begins, or, if it is active, ends: a match before its end lets it go on."""
    begun = last_start(now_ms, entry)
    if begun is None:
        return next_start(now_ms, entry)
    for _ in range(MAX_CHAIN):
        end = begun + entry.duration_ms
        again = last_start(end, entry)
        if again is None:
            return end
        begun = again
    return None


def last_start(now_ms: int, entry: Entry) -> int | None:
    """The newest match at or before now, if `duration_ms` reaches from it beyond now; else None."""
    day = _wall(now_ms, entry.zone).date() + DAY
    oldest = (_wall(now_ms - entry.duration_ms, entry.zone) - GAP).date()
    while day >= oldest:
        if entry.cron.on(day):
            passed = _passed(now_ms, day, entry)
            if passed:
                begun = _match_ms(passed - 1, day, entry)
                return begun if now_ms - begun < entry.duration_ms else None
        day -= DAY
    return None


def next_start(now_ms: int, entry: Entry) -> int | None:
    """The first match after now, None when there is none within SEARCH_DAYS."""
    day = (_wall(now_ms, entry.zone) - GAP).date()
    for _ in range(SEARCH_DAYS):
        if entry.cron.on(day):
            passed = _passed(now_ms, day, entry)
            if passed < len(entry.cron.hours) * len(entry.cron.minutes):
                return _match_ms(passed, day, entry)
        day += DAY
    return None


def _passed(now_ms: int, day: date, entry: Entry) -> int:
    """How many of the day's matches are at or before now: later minutes of a clock never come earlier."""
    count = len(entry.cron.hours) * len(entry.cron.minutes)
    return bisect_right(range(count), now_ms, key=lambda index: _match_ms(index, day, entry))


def _match_ms(index: int, day: date, entry: Entry) -> int:
    hour, minute = divmod(index, len(entry.cron.minutes))
    return _instant_ms(datetime.combine(day, time(entry.cron.hours[hour], entry.cron.minutes[minute])), entry.zone)


def _wall(at_ms: int, zone: tzinfo) -> datetime:
    """What the zone's clock shows."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone).replace(tzinfo=None)


def _instant_ms(wall: datetime, zone: tzinfo) -> int:
    """The first moment at which the zone's clock shows `wall`, or, if it is skipped, the first one after the gap."""
    at_s = round(wall.replace(tzinfo=zone).timestamp())
    if _wall(at_s * 1000, zone) == wall:
        return at_s * 1000
    first = at_s - round(GAP.total_seconds())  # the jump is where the clock begins to show more than `wall`
    around = range(first, at_s + 1)
    return (first + bisect_right(around, wall, key=lambda second: _wall(second * 1000, zone))) * 1000
