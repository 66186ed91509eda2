"""How a breaker shows itself: its part of `~/admin/circuit-breakers` and of the snapshot (contract.md 1.6, 1.11).

core/breaker.py knows monotonic times only; here they become times of day. Called by the balancer (endpoints) and the
api (`external-service`); the gateway's `redis` is no such breaker and tells its own (gateway/store_breaker.py).
"""

from __future__ import annotations

from typing import Any

from services.core.breaker import OPEN, STATE_NAMES, Breaker
from services.runtime.vitals import rfc3339
from services.schema.snapshot import BreakerState


def describe(breaker: Breaker, now: float, wall: float) -> dict[str, Any]:
    """One row, this process's part; `now` is the breaker's clock, `wall` the time of day at that moment. A force whose
    time is over shows lifted.
    """

    def at(moment: float) -> str:
        return rfc3339(wall - (now - moment))

    breaker.expire(now)
    return {
        "name": breaker.name,
        "state": STATE_NAMES[breaker.state],
        "failures": breaker.row,
        "lastFailure": at(breaker.last_failure_at) if breaker.last_failure_at >= 0 else None,
        "forced": bool(breaker.forced),
        "since": at(breaker.since),
        "reason": breaker.reason,
        "retryAt": at(breaker.until) if breaker.state == OPEN else None,
        "stats": {
            "totalCalls": breaker.calls + breaker.rejected,
            "successfulCalls": breaker.succeeded,
            "failedCalls": breaker.failed,
            "rejectedCalls": breaker.rejected,
            "stateChanges": [
                {"from": STATE_NAMES[one.source], "to": STATE_NAMES[one.target], "timestamp": at(one.at)}
                for one in breaker.transitions
            ],
        },
    }


def state_of(row: dict[str, Any]) -> BreakerState:
    """A row as the snapshot has it."""
    return BreakerState(row["name"], row["state"], row["since"], row["reason"], row["forced"], row["retryAt"])
