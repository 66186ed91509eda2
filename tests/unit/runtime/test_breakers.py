"""How a breaker shows itself."""

from __future__ import annotations

from services.core.breaker import FAULT, Breaker, BreakerConfig
from services.runtime.breakers import describe, state_of


def test_times_are_of_day() -> None:
    """Monotonic moments are told as the times of day they were; the snapshot's part is taken from the row."""
    breaker = Breaker("api-1", BreakerConfig(failure_threshold=2, open_s=30), 100.0)
    assert describe(breaker, 100.0, 1_700_000_000.0)["lastFailure"] is None
    for _ in range(2):
        breaker.record(breaker.admit(100.0), FAULT, 100.0, 0.0)
    row = describe(breaker, 110.0, 1_700_000_010.0)
    assert (row["state"], row["failures"], row["lastFailure"]) == ("open", 2, "2023-11-14T22:13:20.000Z")
    assert row["retryAt"] == "2023-11-14T22:13:50.000Z"
    assert row["stats"]["stateChanges"] == [{"from": "closed", "to": "open", "timestamp": row["since"]}]
    shown = state_of(row)
    assert (shown.name, shown.state, shown.forced, shown.retry_at) == ("api-1", "open", False, row["retryAt"])


def test_a_force_whose_time_is_over_shows_lifted() -> None:
    """Nobody needs to call for it to be seen closed."""
    breaker = Breaker("api-1", BreakerConfig(), 0.0)
    breaker.force("open", 60.0, "test", 0.0)
    assert describe(breaker, 59.0, 0.0)["forced"] is True
    assert (describe(breaker, 61.0, 0.0)["state"], breaker.forced) == ("closed", "")
