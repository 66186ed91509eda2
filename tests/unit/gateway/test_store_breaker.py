from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from services.gateway.store_breaker import TRANSITIONS_KEPT, StoreBreaker
from tests.unit.gateway.doubles import metrics


@pytest.fixture
def bench() -> Any:
    own = metrics()
    waits = own.histogram("limit_seconds", "L").series()
    breaker = StoreBreaker(own, waits)
    counts = SimpleNamespace(timeouts=0, failures=0)
    breaker.watch(counts)
    return SimpleNamespace(metrics=own, waits=waits, breaker=breaker, counts=counts)


def test_it_shows_what_the_connection_says(bench):
    """State and transitions follow the connection; saying the same again is no transition."""
    for is_open in (False, True, True, False):
        bench.breaker.moved(is_open=is_open)
    row = bench.breaker.row()
    assert row["state"] == "closed"
    assert [(change["from"], change["to"]) for change in row["stats"]["stateChanges"]] == [
        ("closed", "open"),
        ("open", "closed"),
    ]
    assert row["lastFailure"] is not None
    assert bench.breaker.snapshot().state == "closed"


def test_calls_are_what_the_connection_counts(bench):
    """Timeouts are failures of their own kind; what remains succeeded."""
    for _ in range(10):
        bench.waits.observe(0.001)
    bench.counts.timeouts, bench.counts.failures = 2, 3
    stats = bench.breaker.row()["stats"]
    assert (stats["totalCalls"], stats["successfulCalls"], stats["failedCalls"]) == (10, 7, 3)


def test_old_fault_12b_transitions_are_bounded(bench):
    """10 000 transitions keep 50."""
    for number in range(10_000):
        bench.breaker.moved(is_open=number % 2 == 0)
    assert len(bench.breaker.row()["stats"]["stateChanges"]) == TRANSITIONS_KEPT


def test_the_series(bench):
    """State, transitions and calls by the contract's names."""
    bench.breaker.moved(is_open=True)
    text = bench.metrics.render("")[0].decode()
    assert 'gateway_breaker_state{name="redis"} 2.0' in text
    assert 'gateway_breaker_transitions_total{name="redis",to="open"} 1.0' in text
    assert 'gateway_breaker_calls_total{name="redis",result="timeout"} 0.0' in text
