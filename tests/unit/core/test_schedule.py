"""Cron with time zones against a scan of every minute (P17), the DST rules, and what entries do to bounds."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.core import schedule
from services.core.schedule import Bounds, Edge, Entry, bounds, last_start, next_edge, next_start, parse

MINUTE = 60_000
HOUR = 60 * MINUTE
WARSAW = ZoneInfo("Europe/Warsaw")


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def entry(cron: str, zone: ZoneInfo = WARSAW, hours: int = 1, **members: object) -> Entry:
    return Entry(**{"name": "e", "cron": parse(cron), "zone": zone, "duration_ms": hours * HOUR, **members})  # type: ignore[arg-type]  # members by name


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("* * * *", "has 4 fields"),
        ("60 * * * *", "minute: '60' is outside 0-59"),
        ("* 24 * * *", "hour: '24'"),
        ("* * 0 * *", "day of month: '0'"),
        ("* * * 13 *", "month: '13'"),
        ("* * * * 8", "day of week: '8'"),
        ("5-1 * * * *", "minute: '5-1'"),
        ("*/0 * * * *", "step of 0"),
        ("1,,2 * * * *", "minute: ''"),
        ("a * * * *", "minute: 'a' is neither"),
        ("1-2-3 * * * *", "minute: '1-2-3' is neither"),
    ],
)
def test_a_wrong_field_is_named(text, complaint):
    """The sentence says which field and what it may hold."""
    with pytest.raises(ValueError, match=re.escape(complaint)):
        parse(text)


def test_fields():
    """Lists, ranges, steps, an open step; Sunday is 0 and 7."""
    found = parse("0,30,50-59/3 1-3 5/10 */6 7")
    assert found.minutes == (0, 30, 50, 53, 56, 59)
    assert (found.hours, sorted(found.days), sorted(found.months)) == ((1, 2, 3), [5, 15, 25], [1, 7])
    assert (sorted(found.weekdays), found.either) == ([0], True)


@pytest.mark.parametrize(
    ("cron", "day", "matches"),
    [
        ("0 0 13 * 5", date(2026, 11, 13), True),  # both: Friday the 13th
        ("0 0 13 * 5", date(2026, 11, 20), True),  # a Friday
        ("0 0 13 * 5", date(2026, 12, 13), True),  # a 13th
        ("0 0 13 * 5", date(2026, 11, 12), False),
        ("0 0 13 * *", date(2026, 11, 20), False),
        ("0 0 */2 * 5", date(2026, 11, 20), False),  # a field that begins with * restricts beside the other
        ("0 0 13 1 5", date(2026, 11, 13), False),
    ],
)
def test_days(cron, day, matches):
    """Two restricted day fields: one suffices."""
    assert parse(cron).on(day) is matches


def test_a_skipped_minute_counts_at_the_next_one_that_exists():
    """Warsaw, 29 March 2026: 02:30 does not exist, 03:00 (01:00 UTC) stands for it."""
    assert next_start(ms("2026-03-29T00:00:00"), entry("30 2 * * *")) == ms("2026-03-29T01:00:00")


def test_a_repeated_minute_counts_once():
    """Warsaw, 25 October 2026: 02:30 comes at 00:30 and at 01:30 UTC; the first counts."""
    first = ms("2026-10-25T00:30:00")
    assert next_start(first - 1, entry("30 2 * * *")) == first
    assert next_start(first, entry("30 2 * * *")) == ms("2026-10-26T01:30:00")
    assert last_start(ms("2026-10-25T01:40:00"), entry("30 2 * * *", hours=2)) == first


def test_a_day_that_does_not_come():
    """30 February: no start, no edge, no bounds."""
    never = entry("0 0 30 2 *", minimum=5)
    assert (next_start(0, never), last_start(0, never), next_edge(0, 1, 9, [never])) == (None, None, None)
    assert next_start(ms("2097-01-01T00:00:00"), entry("0 0 29 2 *", ZoneInfo("UTC"))) == ms("2104-02-29T00:00:00")


def test_later_entries_win_field_by_field():
    """The floor of the one, the cap of the other; a cap below the floor is the floor."""
    day = entry("0 * * * *", hours=1, name="day", minimum=6, maximum=40)
    cut = entry("0 * * * *", hours=1, name="cut", maximum=4)
    now = ms("2026-11-24T10:30:00")
    assert bounds(now, 2, 10, []) == Bounds(2, 10)
    assert bounds(now, 2, 10, [day]) == Bounds(6, 40, "day", "day")
    assert bounds(now, 2, 10, [day, cut]) == Bounds(6, 6, "day", "cut")
    assert [e.name for e in schedule.active(now, [day, cut])] == ["day", "cut"]


def test_edges():
    """It begins, it ends, and while matches follow each other it goes on."""
    hours = entry("0 8 * * 1-5", name="office-hours", hours=10, minimum=6, maximum=40)
    assert next_edge(ms("2026-11-24T05:00:00"), 2, 10, [hours]) == Edge(
        "office-hours", ms("2026-11-24T07:00:00"), 6, 40
    )
    assert next_edge(ms("2026-11-24T07:00:00"), 2, 10, [hours]) == Edge(
        "office-hours", ms("2026-11-24T17:00:00"), 2, 10
    )
    twice = entry("0 8,9 * * *", hours=2, minimum=6)
    assert next_edge(ms("2026-11-24T07:30:00"), 2, 10, [twice]) == Edge("e", ms("2026-11-24T10:00:00"), 2, 10)
    always = entry("* * * * *", hours=1, minimum=6)
    assert next_edge(ms("2026-11-24T07:30:00"), 2, 10, [always]) is None
    both = [entry("0 12 * * *", name="noon", minimum=9), hours]
    assert next_edge(ms("2026-11-24T09:00:00"), 2, 10, both) == Edge("noon", ms("2026-11-24T11:00:00"), 6, 40)


def wall(at: int, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(at / 1000, UTC).astimezone(zone).replace(tzinfo=None)


def offset(at: int, zone: ZoneInfo) -> timedelta | None:
    return datetime.fromtimestamp(at / 1000, zone).utcoffset()


def scan(cron: schedule.Cron, zone: ZoneInfo, begin: int, minutes: int) -> list[int]:
    """Every match, by looking at each minute: a skipped one counts at the next, a repeated one the first time."""
    found = []
    latest = max(wall(begin - back * MINUTE, zone) for back in range(1, 26 * 60))
    for at in range(begin, begin + minutes * MINUTE, MINUTE):
        shown = wall(at, zone)
        while latest < shown:
            latest += timedelta(minutes=1)
            if cron.on(latest.date()) and latest.hour in cron.hours and latest.minute in cron.minutes:
                found.append(at)
    return sorted(set(found))


def dst_edges() -> list[tuple[str, int]]:
    """(zone, hour) of every change of the clock from 2024 to 2030, one zone per distinct set of changes."""
    first, last = ms("2024-01-01T00:00:00"), ms("2031-01-01T00:00:00")
    seen: dict[tuple[object, ...], str] = {}
    for name in sorted(available_timezones()):
        zone = ZoneInfo(name)
        days = [at for at in range(first, last, 24 * HOUR) if offset(at, zone) != offset(at + 24 * HOUR, zone)]
        hours = [
            at
            for day in days
            for at in range(day, day + 24 * HOUR, HOUR)
            if offset(at, zone) != offset(at + HOUR, zone)
        ]
        seen.setdefault(tuple((at, offset(at, zone), offset(at + HOUR, zone)) for at in hours), name)
    return [(name, change[0]) for changes, name in seen.items() for change in changes]  # type: ignore[index]  # triples


EDGES = dst_edges()
CRONS = st.tuples(
    st.sampled_from(["*", "0", "30", "*/20", "59", "5,45"]),
    st.sampled_from(["*", "0", "1", "2", "3", "1-3", "23", "*/2"]),
    st.sampled_from(["*", "*", "1-7", "25-31"]),
    st.just("*"),
    st.sampled_from(["*", "*", "0", "1-5"]),
).map(" ".join)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(EDGES), CRONS, st.integers(-300, 300))
def test_p17_cron_is_a_scan_of_every_minute(edge, cron, shift):
    """Over the changes of the clock of all zones, 2024 to 2030: the same matches, looked for forwards and backwards."""
    name, at = edge
    found, zone = entry(cron, ZoneInfo(name), hours=168), ZoneInfo(name)
    begin = at // MINUTE * MINUTE + shift * MINUTE - 3 * HOUR
    expected = scan(found.cron, zone, begin, 480)
    walked, now = [], begin - 1
    while (now := next_start(now, found) or begin + 480 * MINUTE) < begin + 480 * MINUTE:
        walked.append(now)
    assert walked == expected
    back, now = [], begin + 480 * MINUTE - 1
    while (now := last_start(now, found) or 0) >= begin:
        back.append(now)
        now -= 1
    assert back[::-1] == expected
