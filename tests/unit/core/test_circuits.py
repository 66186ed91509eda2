"""Breakers over all processes: operator.md §7, P15."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.core.circuits import Breaker, Memory, Report, aggregate

OPEN = Breaker("api-1", "Open", "2026-01-01T00:00:05Z", "5 failures", retry_at="2026-01-01T00:00:35Z")
OLDER = Breaker("api-1", "Open", "2026-01-01T00:00:01Z", "timeouts", retry_at="2026-01-01T00:00:31Z")
HALF = Breaker("api-1", "HalfOpen", "2026-01-01T00:00:09Z")
CLOSED = Breaker("api-1", "Closed")


def reports(*breakers: Breaker) -> list[Report]:
    return [Report("balancer", fresh=True, breakers=(breaker,)) for breaker in breakers]


def test_the_worst_state_with_its_oldest_since():
    """Open over half-open over closed; since and reason of the oldest, the earliest retry; how many share it."""
    found = aggregate(0, reports(OPEN, OLDER, HALF, CLOSED), Memory())
    item = found.items[0]
    assert (item.state, item.not_closed, item.known_by) == ("Open", 3, 4)
    assert (item.since, item.reason, item.retry_at) == (OLDER.since, "timeouts", OLDER.retry_at)
    assert (found.open, found.half_open, found.total, found.observed, found.pods) == (1, 0, 1, 4, 4)
    assert [i.key for i in found.opened] == [("balancer", "api-1")]


def test_forced_wins_as_the_reason():
    """A person opened it: that is what to say."""
    forced = Breaker("api-1", "Open", "2026-01-01T00:00:07Z", "x", forced=True)
    assert aggregate(0, reports(OPEN, forced), Memory()).items[0].reason == "Forced"


def test_a_key_leaves_ten_seconds_after_it_closed():
    """Told once when it opens, once when it is really over; a relapse within the guard is the same episode."""
    first = aggregate(0, reports(OPEN), Memory())
    again = aggregate(1000, reports(OPEN), first.memory)
    closed = aggregate(2000, reports(CLOSED), again.memory)
    relapse = aggregate(5000, reports(HALF), closed.memory)
    quiet = aggregate(10_000, reports(CLOSED), relapse.memory)
    over = aggregate(15_000, reports(CLOSED), quiet.memory)
    assert [len(f.opened) for f in (first, again, closed, relapse, quiet, over)] == [1, 0, 0, 0, 0, 0]
    assert [len(f.closed) for f in (first, again, closed, relapse, quiet, over)] == [0, 0, 0, 0, 0, 1]
    assert [len(f.items) for f in (first, again, closed, relapse, quiet, over)] == [1, 1, 1, 1, 1, 0]
    assert closed.items[0].state == "Closed"
    assert (closed.open, relapse.half_open) == (0, 1)


def test_a_key_nobody_knows_any_more_fades_too():
    """Its process is gone: closed, then forgotten."""
    first = aggregate(0, reports(OPEN), Memory())
    gone = aggregate(1000, [Report("balancer", fresh=True)], first.memory)
    assert gone.items[0].state == "Closed"
    assert aggregate(10_000, [Report("balancer", fresh=True)], gone.memory).items == ()


def test_blind_keeps_items_for_a_minute():
    """No fresh snapshot: what was seen stays for 60 s, then nothing is claimed."""
    first = aggregate(0, reports(OPEN), Memory())
    blind = aggregate(59_000, [Report("balancer", fresh=False)], first.memory)
    assert (blind.blind, blind.open, len(blind.items), blind.observed, blind.pods) == (True, 1, 1, 0, 1)
    late = aggregate(60_000, [Report("balancer", fresh=False)], blind.memory)
    assert (late.open, late.items) == (0, ())
    assert aggregate(0, [], Memory()).blind


BREAKERS = st.lists(
    st.builds(
        Breaker, st.sampled_from([f"api-{n}" for n in range(60)]), st.sampled_from(["Open", "HalfOpen", "Closed"])
    ),
    max_size=80,
    unique_by=lambda breaker: breaker.name,
).map(tuple)


@given(st.lists(st.builds(Report, st.sampled_from(["balancer", "gateway"]), st.booleans(), BREAKERS), max_size=4))
def test_p15_at_most_32_items_exact_counts_any_order(found):
    """However many there are: 32 listed, all counted, the order of the reports without influence."""
    result = aggregate(0, found, Memory())
    assert len(result.items) <= 32
    worst: dict[tuple[str, str], set[str]] = {}
    for report in found:
        for breaker in report.breakers if report.fresh else ():
            worst.setdefault((report.component, breaker.name), set()).add(breaker.state)
    assert result.open == sum("Open" in states for states in worst.values())
    assert result.half_open == sum("HalfOpen" in s and "Open" not in s for s in worst.values())
    assert result == aggregate(0, list(reversed(found)), Memory())
