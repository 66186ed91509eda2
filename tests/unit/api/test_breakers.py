from __future__ import annotations

from services.api.breakers import Breakers
from services.core.breaker import FAULT, BreakerConfig
from services.runtime.metrics import Metrics
from services.runtime.vitals import Events


def test_described_forced_reset() -> None:
    """A breaker shows its state with times of day, its transitions as events and series; unknown names are None and
    stay unknown.
    """
    clock = [100.0]
    metrics, events = Metrics("api", "1"), Events()
    breakers = Breakers(metrics, events, clock=lambda: clock[0], wall=lambda: clock[0] + 1_700_000_000)
    breaker = breakers.add("external-service", BreakerConfig(failure_threshold=2))
    for _ in range(2):
        breaker.record(breaker.admit(clock[0]), FAULT, clock[0], 0.0)
    row = breakers.all()["external-service"]
    assert (row["state"], row["stats"]["failedCalls"], row["forced"]) == ("open", 2, False)
    assert row["lastFailure"] == "2023-11-14T22:15:00.000Z"
    assert row["retryAt"] == "2023-11-14T22:15:30.000Z"
    assert [e.kind for e in events.latest] == ["breaker.open"]
    assert b'api_breaker_state{name="external-service"} 2.0' in metrics.render("")[0]
    reset = breakers.reset("external-service")
    assert reset is not None
    assert reset["state"] == "closed"
    forced = breakers.force("external-service", "open", 60, "a try")
    assert forced is not None
    assert (forced["state"], forced["forced"]) == ("open", True)
    assert breakers.snapshot()[0].forced
    clock[0] += 61
    over = breakers.all()["external-service"]
    assert (over["state"], over["forced"]) == ("closed", False)
    assert breakers.lift("external-service") is not None
    assert [f("nobody") for f in (breakers.reset, breakers.lift)] == [None, None]
    assert breakers.force("nobody", "open", 1, "") is None
    assert list(breakers.all()) == ["external-service"]
