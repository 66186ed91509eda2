"""The picked endpoint's breaker: a permit before the try, a verdict after it, exactly one for each.

`x.scratch` holds the permit while the try has no verdict yet, 0 when it has one; None: nothing was tried. A failure is
told as soon as it is known; a success when the exchange is over, for an answer whose body is cut is none.
`x.endpoint.active` counts from here on.
"""

from __future__ import annotations

from random import random
from typing import Final

from services.balancer.endpoints import ABORTED, CONNECT_FAILED, DEADLINE, TRY_TIMEOUT, Endpoint
from services.balancer.fleet import Fleet
from services.core.breaker import CUT, FAULT, NO_VERDICT, STATUS_FAILURE, SUCCESS
from services.core.verdicts import Outcome
from services.http1.exchange import Exchange
from services.http1.heads import UpstreamHead

NO_PERMIT: Final = 0
# answers that are failures → the field with which the endpoint says that it works itself (docs/adr/0005): its own next
# hop failed, or it is overloaded; b"" is in no head
EXCUSES: Final = {500: b"", 502: b"proxy-status", 503: b"retry-after", 504: b""}

# a failure's kind → the breaker's verdict, the place in Endpoint.outcomes
KINDS: Final = {
    "connect_failed": (NO_VERDICT, CONNECT_FAILED),
    "connect_timeout": (NO_VERDICT, CONNECT_FAILED),
    "queue_full": (NO_VERDICT, ABORTED),
    "upstream_reset": (CUT, CUT),
    "upstream_invalid": (FAULT, FAULT),
    "try_timeout": (CUT, TRY_TIMEOUT),
    "deadline": (FAULT, DEADLINE),
}


def failed(status: int, head: UpstreamHead) -> bool:
    """Is this answer a failure of the endpoint? Not overload (503 that says when to come back), not a 502 that says
    whose fault it is, never 501 or 4xx.
    """
    excuse = EXCUSES.get(status)
    return excuse is not None and excuse not in head.special


class BreakCircuit:
    __slots__ = ("_fleet", "_gradient", "_pick_at")

    def __init__(self, fleet: Fleet, pick_at: int) -> None:
        self._fleet = fleet
        self._gradient = fleet.gradient
        self._pick_at = pick_at

    def enter(self, x: Exchange) -> Outcome:
        endpoint: Endpoint = x.endpoint
        permit = endpoint.switch.admit(x.now)
        if permit == NO_PERMIT:  # lost to another since `pick` asked
            x.excluded += (endpoint,)
            x.endpoint = None
            x.at = self._pick_at
            return None
        endpoint.active += 1
        x.scratch = permit
        return None

    def answered(self, x: Exchange, head: UpstreamHead) -> bool:
        """What the head says about the endpoint; True: it is a failure, and the breaker has been told."""
        endpoint: Endpoint = x.endpoint
        now = x.now
        load = head.special.get(b"x-api-load")
        if load is not None and load.isdigit() and len(load) <= 3:
            endpoint.loaded(min(int(load), 100) / 100, now)
        endpoint.seconds.observe(x.upstream_s)
        if head.special.get(b"connection") == b"close":  # it is leaving: see at once whether it says so
            endpoint.wake.set()
        status = head.status
        if status >= 500 and failed(status, head):
            endpoint.last_error = f"status {status}"
            self.settle(x, STATUS_FAILURE, STATUS_FAILURE, now)
            return True
        if endpoint.probation or endpoint.connect_fails:
            self._fleet.succeeded(endpoint, now)
        if not x.class_slow:
            endpoint.took(x.upstream_s, now, self._fleet.peak)
            self._fleet.timeout.observe(x.upstream_s)
            if status < 400:  # what fails early says nothing about how long work takes
                gradient = self._gradient
                gradient.count += 1
                gradient.total_s += x.upstream_s
        return False

    def fault(self, x: Exchange, kind: str) -> None:
        """The try ended without an answer."""
        verdict, place = KINDS[kind]
        now = x.now
        if kind == "try_timeout":
            self._fleet.timed_out(x.endpoint, now)
        elif verdict != NO_VERDICT:
            x.endpoint.last_error = kind.replace("_", " ")
        self.settle(x, verdict, place, now)

    def settle(self, x: Exchange, verdict: int, place: int, now: float) -> None:
        """A try that did not succeed: tell the breaker and count; the permit is spent."""
        endpoint: Endpoint = x.endpoint
        endpoint.outcomes[place] += 1
        if verdict != NO_VERDICT:
            endpoint.requests += 1
            endpoint.failures += 1
        draw = random()  # noqa: S311  # spreads the end of an opening
        endpoint.switch.record(x.scratch, verdict, now, draw, x.upstream_s)
        x.scratch = NO_PERMIT

    def release(self, x: Exchange) -> None:
        """The try is over for good: another may follow elsewhere."""
        x.endpoint.active -= 1
        x.excluded += (x.endpoint,)
        x.endpoint = None
        x.scratch = None

    def leave(self, x: Exchange) -> None:
        """on_finish: whatever the endpoint still holds for this exchange goes back."""
        endpoint: Endpoint | None = x.endpoint
        if endpoint is None or x.scratch is None:
            return
        endpoint.active -= 1
        if x.scratch == NO_PERMIT:
            return
        if x.head is None:
            self.settle(x, NO_VERDICT, ABORTED, x.now)
        elif x.reason == "cut":
            endpoint.last_error = "answer cut short"
            self.settle(x, CUT, CUT, x.now)
        else:
            endpoint.outcomes[SUCCESS] += 1
            endpoint.requests += 1
            endpoint.switch.record(x.scratch, SUCCESS, x.now, 0.0, x.upstream_s)
