"""This process's circuit breakers: how they show on the control port, how an admin moves them, what Prometheus
counts.

The breaker itself is core/breaker.py, its row runtime/breakers.py; here its transitions become events and series.
Called by external (which has the only one of the api), by the control port's routes and by the snapshot.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import monotonic, time
from typing import Any, Final

from services.core.breaker import OPEN, STATE_NAMES, Breaker, BreakerConfig, Transition
from services.runtime.breakers import describe, state_of
from services.runtime.metrics import Metrics
from services.runtime.vitals import Events
from services.schema.snapshot import BreakerState

RESULTS: Final = ("success", "failure", "rejected", "timeout")


class Breakers:
    """By name. `clock` is the breakers' monotonic one, `wall` the time of day."""

    def __init__(
        self,
        metrics: Metrics,
        events: Events,
        clock: Callable[[], float] = monotonic,
        wall: Callable[[], float] = time,
    ) -> None:
        self._breakers: dict[str, Breaker] = {}
        self._events = events
        self._clock = clock
        self._wall = wall
        self._transitions = metrics.counter("breaker_transitions_total", "Changes of a breaker's state", ("name", "to"))
        self._calls = metrics.counter("breaker_calls_total", "Calls by what became of them", ("name", "result"))
        metrics.gauge("breaker_state", "0 closed, 1 half-open, 2 open", self._states, ("name",))

    def add(self, name: str, config: BreakerConfig) -> Breaker:
        breaker = Breaker(name, config, self._clock(), self._moved)
        self._breakers[name] = breaker
        return breaker

    def count(self, name: str, result: str) -> None:
        self._calls.inc(name, result)

    def reset(self, name: str) -> dict[str, Any] | None:
        """Its description afterwards; None for a name nobody added."""
        breaker = self._breakers.get(name)
        if breaker is None:
            return None
        breaker.reset(self._clock())
        return self.describe(breaker)

    def force(self, name: str, state: str, ttl_s: float, reason: str) -> dict[str, Any] | None:
        breaker = self._breakers.get(name)
        if breaker is None:
            return None
        now = self._clock()
        breaker.force(state, now + ttl_s, reason, now)
        return self.describe(breaker)

    def lift(self, name: str) -> dict[str, Any] | None:
        """Ends a force: closed, as `reset` leaves it. One that is not forced stays as it is."""
        breaker = self._breakers.get(name)
        if breaker is None:
            return None
        if breaker.forced:
            breaker.reset(self._clock())
        return self.describe(breaker)

    def all(self) -> dict[str, Any]:
        return {name: self.describe(breaker) for name, breaker in self._breakers.items()}

    def describe(self, breaker: Breaker) -> dict[str, Any]:
        return describe(breaker, self._clock(), self._wall())

    def snapshot(self) -> tuple[BreakerState, ...]:
        """The snapshot's `breakers`."""
        return tuple(map(state_of, self.all().values()))

    def _states(self) -> Mapping[tuple[str, ...], float]:
        for breaker in self._breakers.values():
            breaker.expire(self._clock())
        return {(name,): float(breaker.state) for name, breaker in self._breakers.items()}

    def _moved(self, breaker: Breaker, transition: Transition) -> None:
        to = STATE_NAMES[transition.target]
        self._transitions.inc(breaker.name, to)
        severity = "warning" if transition.target == OPEN else "info"
        self._events.add(f"breaker.{to}", breaker.name, transition.reason, severity)
