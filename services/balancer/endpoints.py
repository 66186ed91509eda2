"""An endpoint of the balancer: its state by a table, its counts in a row, its numbers, its way in (a pool).

The walker moves one step per event; a missing key means that the event says nothing in that state: one failed probe
ejects nobody, one good one brings nobody back. Called by fleet.py, which owns the endpoints and reacts to moves; stages
touch the numbers only.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from services.core.balancing import Target
from services.core.breaker import Breaker
from services.http1.upstream import NextHop
from services.runtime.endpoints import EndpointInfo
from services.runtime.metrics import Series

STARTING: Final = "starting"
HEALTHY: Final = "healthy"
UNHEALTHY: Final = "unhealthy"
EJECTED: Final = "ejected"
DRAINING: Final = "draining"
DISABLED: Final = "disabled"
STATES: Final = (STARTING, HEALTHY, UNHEALTHY, EJECTED, DRAINING, DISABLED)

# events
GOOD: Final = "good"  # a good probe or answer
RECOVERED: Final = "recovered"  # GOOD_PROBES in a row
FAILING: Final = "failing"  # BAD_PROBES or BAD_CONNECTS in a row
OUTLIER: Final = "outlier"
RESTED: Final = "rested"  # the ejection's time is over
DRAIN: Final = "drain"
EMPTY: Final = "empty"  # drained by hand, and nothing in flight any more
UNDRAIN: Final = "undrain"  # no cause of draining is left

MOVES: Final = {
    (STARTING, GOOD): HEALTHY,
    (STARTING, FAILING): UNHEALTHY,
    (STARTING, DRAIN): DRAINING,
    (HEALTHY, FAILING): UNHEALTHY,
    (HEALTHY, OUTLIER): EJECTED,
    (HEALTHY, DRAIN): DRAINING,
    (UNHEALTHY, RECOVERED): HEALTHY,
    (UNHEALTHY, DRAIN): DRAINING,
    (EJECTED, RESTED): HEALTHY,
    (EJECTED, FAILING): UNHEALTHY,
    (EJECTED, DRAIN): DRAINING,
    (DRAINING, EMPTY): DISABLED,
    (DRAINING, UNDRAIN): STARTING,
    (DISABLED, UNDRAIN): STARTING,
}
IN_SERVICE: Final = frozenset((STARTING, HEALTHY))  # picked when all is well
OUT_OF_SERVICE: Final = frozenset((DRAINING, DISABLED))  # never picked, not in panic either

BAD_PROBES: Final = 3
BAD_CONNECTS: Final = 2  # failed connects or try timeouts
GOOD_PROBES: Final = 2

# causes of draining
BY_DISCOVERY: Final = 1
BY_PROBE: Final = 2
BY_HAND: Final = 4

# outcomes of a try, as counted per endpoint; the first four are the breaker's
OUTCOMES: Final = ("success", "failure", "fault", "reset", "aborted", "connect_failed", "try_timeout", "deadline")
ABORTED: Final = 4
CONNECT_FAILED: Final = 5
TRY_TIMEOUT: Final = 6
DEADLINE: Final = 7


class Way(NextHop, Protocol):
    """The way in: what carries exchanges to one endpoint (today http1's Pool)."""

    backoff_until: float  # no connect is tried before

    @property
    def open_count(self) -> int:
        """Connections, the idle ones too."""

    def retire(self) -> None:
        """The endpoint is gone: take no more, finish what is under way."""

    def close(self) -> None:
        """Abort what is under way."""


class Endpoint(Target):
    __slots__ = (
        "causes",
        "connect_fails",
        "drain_until",
        "ejected_until",
        "ejections",
        "failures",
        "failures_before",
        "info",
        "last_check",
        "last_error",
        "outcomes",
        "pool",
        "probe_fails",
        "probe_goods",
        "requests",
        "requests_before",
        "requests_second",
        "rps",
        "seconds",
        "state",
        "switch",
        "wake",
    )

    def __init__(self, info: EndpointInfo, breaker: Breaker, seconds: Series, now: float) -> None:
        super().__init__(info.id, info.weight, now)
        self.info = info
        self.breaker: Breaker = breaker
        self.switch = breaker  # the same, never None: the hot path needs no check
        self.pool: Way  # set by the fleet, which hears of its connects
        self.seconds = seconds  # times to head
        self.state = STARTING
        self.causes = 0
        self.drain_until = 0.0  # a drain by hand ends by itself; 0 = there is none
        self.probe_fails = 0
        self.probe_goods = 0
        self.connect_fails = 0
        self.ejections = 0  # times in a row
        self.ejected_until = 0.0
        self.requests = 0  # tries that got a verdict, since start
        self.failures = 0
        self.requests_before = 0  # at the last outlier round
        self.failures_before = 0
        self.requests_second = 0  # at the last full second
        self.rps = 0.0
        self.outcomes = [0] * len(OUTCOMES)
        self.last_check = 0.0  # wall time
        self.last_error = ""
        self.wake = asyncio.Event()  # probe now

    def move(self, event: str, now: float) -> bool:
        """One step of the table; did the state change? Whoever comes into service starts slowly, on probation."""
        state = MOVES.get((self.state, event))
        if state is None:
            return False
        self.state = state
        if state in IN_SERVICE:
            self.connect_fails = 0
            self.restart(now)
        return True

    def probed(self, good: bool) -> str:
        """Count a probe; the event it amounts to, or nothing."""
        if good:
            self.probe_fails = 0
            self.probe_goods += 1
            if self.state == STARTING:
                return GOOD
            return RECOVERED if self.probe_goods >= GOOD_PROBES else ""
        self.probe_goods = 0
        self.probe_fails += 1
        return FAILING if self.probe_fails >= BAD_PROBES else ""

    def stumbled(self) -> str:
        """Count a failed connect or a try timeout; the event it amounts to, or nothing."""
        self.connect_fails += 1
        return FAILING if self.connect_fails >= BAD_CONNECTS else ""

    def drain(self, cause: int) -> str:
        self.causes |= cause
        return DRAIN

    def undrain(self, cause: int) -> str:
        """A cause is over; the event when it was the last one."""
        if not self.causes & cause:
            return ""
        self.causes &= ~cause
        return "" if self.causes else UNDRAIN
