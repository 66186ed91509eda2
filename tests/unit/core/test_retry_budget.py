"""Retries: which, when, how many, and the time a try gets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.core.retry_budget import CAPACITY, RetryBudget, TryTimeout, may_repeat, repeatable, retry_delay_s


@given(st.lists(st.tuples(st.floats(0, 2), st.sampled_from(["request", "retry", "retry"])), max_size=400))
def test_invariant_32_tries_are_bounded(events: list[tuple[float, str]]) -> None:
    """Tries never exceed 1.2 · requests + 10 · seconds + capacity, whatever the order."""
    budget = RetryBudget(0.0)
    now, requests, retries = 0.0, 0, 0
    for wait, what in events:
        now += wait
        if what == "request":
            requests += 1
            budget.earn()
        elif budget.take(now):
            retries += 1
        assert requests + retries <= 1.2 * requests + 10 * now + CAPACITY + 1e-6


def test_budget_is_capped_and_comes_back() -> None:
    """Empty after a hundred, one more after a tenth of a second; saving ends at ten seconds' worth; a clock jump back
    gives nothing.
    """
    budget = RetryBudget(10.0)
    assert sum(budget.take(10.0) for _ in range(150)) == 100
    assert budget.take(10.125)
    assert not budget.take(10.125)
    assert budget.refill(5.0) == 0.25
    for _ in range(1000):
        budget.earn()
    assert budget.refill(5.0) == CAPACITY


def test_repeatable() -> None:
    """Idempotent methods, and POST or PATCH with a key; nothing else."""
    assert all(repeatable(method, keyed=False) for method in (b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"))
    assert not any(repeatable(method, keyed=False) for method in (b"POST", b"PATCH", b"PURGE"))
    assert all(repeatable(method, keyed=True) for method in (b"POST", b"PATCH"))
    assert not repeatable(b"PURGE", keyed=True)


def test_may_repeat() -> None:
    """A failed connect: any method. After bytes were written: repeatable ones only. Never a fourth try, a 500, a
    deadline.
    """
    assert may_repeat("connect_failed", sent=False, replayable=False, tries=1)
    assert may_repeat("upstream_reset", sent=True, replayable=True, tries=2)
    assert may_repeat("status_503", sent=True, replayable=True, tries=1)
    assert not may_repeat("upstream_reset", sent=True, replayable=False, tries=1)
    assert not may_repeat("connect_failed", sent=False, replayable=True, tries=3)
    assert not may_repeat("status_500", sent=True, replayable=True, tries=1)
    assert not may_repeat("deadline", sent=True, replayable=True, tries=1)


def test_delays() -> None:
    """The first retry goes at once, the second within a tenth of a second."""
    assert retry_delay_s(1, 0.9) == 0.0
    assert retry_delay_s(2, 0.5) == 0.05


def test_try_timeout_follows_p99() -> None:
    """Unknown until there are samples; four times p99, 250 ms at least; old samples leave after two halves."""
    timeout = TryTimeout(0.0)
    timeout.refresh(1.0)
    assert timeout.seconds == 2.0
    for _ in range(100):
        timeout.observe(0.002)
    timeout.refresh(2.0)
    assert timeout.seconds == 0.25
    for _ in range(100):
        timeout.observe(1.0)
    timeout.refresh(31.0)
    assert 4.0 <= timeout.seconds <= 5.0
    for _ in range(100):
        timeout.observe(0.002)
    timeout.refresh(62.0)
    timeout.refresh(63.0)
    assert timeout.seconds == 0.25


@given(st.lists(st.floats(0.0001, 100), min_size=20, max_size=300))
def test_p99_is_off_by_a_quarter_at_most(seconds: list[float]) -> None:
    """The estimate is the true p99 rounded up to its bucket; the last bucket has no upper end."""
    timeout = TryTimeout(0.0)
    for value in seconds:
        timeout.observe(value)
    true = sorted(seconds)[max(0, -(-99 * len(seconds) // 100) - 1)]
    top = TryTimeout.BOUNDS[-1]
    assert min(true, top) <= timeout.p99() * 1.000001
    assert timeout.p99() <= max(min(true, top) * 1.2501, TryTimeout.BOUNDS[0])
