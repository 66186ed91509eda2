"""Spends the request's cost on all its policies at once; parks for Redis' reply, at most 20 ms.

After `authenticate`, which says who is limited and by which tier; before the body is read or a connection taken. A
route's own policy (`login-ip`) is another key, the client's network, so it is a command of its own and comes first;
such routes cost 0 otherwise. Units of a request that is refused later stay spent: a refund would make overload free.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

from services.core.limits import left, wait_ms
from services.core.verdicts import PARKED, Outcome
from services.gateway.limiter import Decision, Limiter
from services.gateway.limiter.limiter import Caller
from services.gateway.limiter.subject import Subject
from services.http1.exchange import PARKED_STATE, Exchange
from services.http1.runner import resume
from services.schema.tiers import Policy

STATE_HEADER: Final = b"X-Gateway-RateLimit: "


class LimitStage:
    """The stage (`__call__`) and its hooks (`on_head`, `on_finish`). `x.limit` is the Decision, None on exempt routes."""

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter

    def __call__(self, x: Exchange) -> Outcome:
        x.limit = None
        policy: Policy | None = x.route.policy
        if policy is None:
            return self._tier(x)
        now = x.now
        subject = self._limiter.guard(policy.name, x.client.address)
        if subject is None:
            return self._tier(x)
        decision = self._limiter.check(subject, max(1, x.cost), now, self._guarded, (x, x.ticket))
        return PARKED if decision is None else self._after_guard(x, decision)

    def on_head(self, x: Exchange) -> None:
        """RateLimit fields, on every answer of a limited route whatever its status."""
        decision: Decision | None = x.limit
        if decision is not None and (lines := decision.lines()):
            x.extra.append(lines)

    def on_finish(self, x: Exchange) -> None:
        """Its place among those in flight is free again."""
        decision: Decision | None = x.limit
        if decision is not None and decision.lease is not None:
            self._limiter.release(decision)

    def _tier(self, x: Exchange) -> Outcome:
        if x.cost == 0:
            return None
        now = x.now
        subject = self._limiter.subject(x.identity, x.client.address, now)
        decision = self._limiter.check(subject, x.cost, now, self._decided, (x, x.ticket))
        return PARKED if decision is None else self._outcome(x, decision)

    def _decided(self, mark: tuple[Exchange, int], decision: Decision) -> None:
        x, ticket = mark
        if x.ticket == ticket and x.state == PARKED_STATE:
            resume(x, ticket, self._outcome(x, decision))
        else:
            self._limiter.release(decision)

    def _outcome(self, x: Exchange, decision: Decision) -> Outcome:
        x.limit = decision
        if not decision.admitted:
            return self._limiter.refusal(decision)
        if x.route.tells_limit:
            x.fields.append(STATE_HEADER + decision.state() + b"\r\n")
        return None

    def _guarded(self, mark: tuple[Exchange, int], decision: Decision) -> None:
        x, ticket = mark
        if x.ticket != ticket or x.state != PARKED_STATE:
            return
        x.now = monotonic()
        out = self._after_guard(x, decision)
        if out is not PARKED:  # else the tier's command is on its way, under the same ticket
            resume(x, ticket, out)

    def _after_guard(self, x: Exchange, decision: Decision) -> Outcome:
        if not decision.admitted or x.cost == 0:
            return self._outcome(x, decision)
        x.extra.append(decision.fields())
        return self._tier(x)


@dataclass(frozen=True, slots=True)
class Asked:
    """The request that explain is asked about."""

    identity: Caller
    client: str
    cost: int
    policy: Policy | None = None


async def explain(view: Limiter, request: Asked, now: float) -> dict[str, Any]:
    """What this stage would say to the request now: the policies as contract.md 1.6 shows them, and the verdict.
    Spends nothing.
    """
    asked: list[tuple[Subject, int]] = []
    guard = None if request.policy is None else view.guard(request.policy.name, request.client)
    if guard is not None:
        asked.append((guard, max(1, request.cost)))
    tier = view.subject(request.identity, request.client, now)
    if request.cost:
        asked.append((tier, request.cost))
    decisions = [await view.peek(subject, cost) for subject, cost in asked]
    refused = next((decision for decision in decisions if not decision.admitted), None)
    refusal = None if refused is None else refused.refusal(0.0)
    return {
        "stage": "limit",
        "admitted": refusal is None,
        "refusal": refusal,
        "override": tier.override or None,
        "degraded": any(decision.degraded for decision in decisions),
        "policies": [row for decision in decisions for row in _rows(decision)],
    }


def _rows(decision: Decision) -> list[dict[str, Any]]:
    rows = []
    for rule, limit, reading in zip(decision.set.rules, decision.limits, decision.readings, strict=True):
        remaining = left(limit, reading, decision.us)
        wait = wait_ms(limit, reading, decision.us, decision.cost)
        mode = "enforce" if rule.limit.enforced else "shadow"
        rows.append(
            {
                "name": rule.name,
                "quota": rule.limit.quota,
                "window": rule.window_s,
                "algorithm": limit.algorithm,
                "mode": mode,
                "estimate": limit.quota - remaining,
                "remaining": remaining,
                "retryAfter": 0 if reading.passes else -(-(limit.window_ms if wait is None else wait) // 1000),
                "verdict": "admit" if reading.passes else "reject" if mode == "enforce" else "shadow_reject",
            }
        )
    return rows
