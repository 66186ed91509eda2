"""A limiter's outcome for one request: whether it is admitted, and what its answer's head says about it.

Header fields by contract.md 2.2: RateLimit-Policy is constant per set, RateLimit one `%` format, X-RateLimit-* tells
the policy closest to refusing. Rendered only when a head is written.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Final

from services.core.limits import CONCURRENCY, Limit, Reading, left, longest_wait_s, reset_s, retry_after_s
from services.core.verdicts import Facts, Refusal
from services.gateway.limiter.leases import Lease
from services.gateway.limiter.policies import ABUSE, PolicySet, Rule

DEGRADED: Final = b"RateLimit-Degraded: ?1\r\n"
RESET_FORMAT: Final = b"X-RateLimit-Limit: %d\r\nX-RateLimit-Remaining: %d\r\nX-RateLimit-Reset: %d\r\n"
BLOCKED_S: Final = 60  # a blocked caller is told to come back in a minute: by then the block may be lifted


class Decision:
    """`limits` are those that decided: the set's own, or a gateway's share of them. `us` is the store's clock then.
    `remaining` units are left of each enforced policy; `lease` is the request's place among those in flight.
    """

    __slots__ = (
        "_facts",
        "_lines",
        "_refusals",
        "_wait_s",
        "admitted",
        "cost",
        "degraded",
        "lease",
        "limits",
        "readings",
        "remaining",
        "set",
        "us",
    )

    def __init__(
        self,
        policy_set: PolicySet,
        limits: tuple[Limit, ...],
        readings: list[Reading],
        us: int,
        cost: int,
        *,
        admitted: bool,
        degraded: bool = False,
    ) -> None:
        self.set = policy_set
        self.limits = limits
        self.readings = readings
        self.remaining = [left(limits[i], readings[i], us) for i in policy_set.enforced]
        self.us = us
        self.cost = cost
        self.admitted = admitted
        self.degraded = degraded
        self.lease: Lease | None = None
        self._lines: bytes | None = None
        self._wait_s = 0
        self._facts: Facts | None = None
        self._refusals: dict[int, Refusal] = {}

    def told(self) -> list[tuple[int, int]]:
        """`r` and `t` of each enforced policy."""
        limits, readings, us = self.limits, self.readings, self.us
        found = zip(self.set.enforced, self.remaining, strict=True)
        return [(r, reset_s(limits[i], readings[i], us, r)) for i, r in found]

    def closest(self, told: Sequence[tuple[int, int]]) -> tuple[int, int, int]:
        """Quota, r, epoch second of reset: of the enforced policy with the smallest share left."""
        least, quota, r, t = 2.0, 0, 0, 0
        for i, (remaining, reset) in zip(self.set.enforced, told, strict=True):
            mine = self.limits[i].quota  # a share's, while Redis is away
            part = remaining / mine if mine else 0.0
            if part < least:
                least, quota, r, t = part, self.set.rules[i].limit.quota, remaining, reset
        return quota, r, self.us // 1_000_000 + t

    def fields(self) -> bytes:
        """RateLimit-Policy and RateLimit, empty if nothing is enforced. A second set's lines continue the lists."""
        return self._fields(self.told())

    def lines(self) -> bytes:
        """All limit lines of the answer, empty if nothing is enforced."""
        if self._lines is None:
            self._lines = DEGRADED if self.degraded else b""
            if self.remaining:
                told = self.told()
                self._lines = self._fields(told) + RESET_FORMAT % self.closest(told) + self._lines
        return self._lines

    def _fields(self, told: Sequence[tuple[int, int]]) -> bytes:
        return self.set.lines_format % tuple(chain.from_iterable(told))

    def refusal(self, draw: float) -> Refusal:
        """The 429; `draw` in [0, 1) spreads the clients that were refused together."""
        if self._wait_s == 0:
            self._wait_s = longest_wait_s(self.limits, self.readings, self.us, self.cost)
        wait_s = retry_after_s(self._wait_s, draw)
        found = self._refusals.get(wait_s)
        if found is None:
            found = self._refusals[wait_s] = self._refuse(wait_s)
        return found

    def _refuse(self, wait_s: int) -> Refusal:
        rule = next(self.set.rules[i] for i in self.set.enforced if not self.readings[i].passes)
        abuse = self.set.slug == ABUSE
        said = "Too many attempts" if abuse else _used_up(rule)
        return Refusal(
            self.set.slug,
            "attempts" if abuse else "quota",
            f"{said}; retry in {wait_s} s.",
            wait_s,
            self._said(),
        )

    def _said(self) -> Facts:
        """What all refusals by this decision tell."""
        if self._facts is None:
            quota, remaining, reset = self.closest(self.told())
            violated = (self.set.rules[i].name for i in self.set.enforced if not self.readings[i].passes)
            at = datetime.fromtimestamp(reset, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
            self._facts = Facts(
                {"violated-policies": tuple(violated), "limit": quota, "remaining": remaining, "resetAt": at}
            )
        return self._facts

    def state(self) -> bytes:
        """The value of X-Gateway-RateLimit, which the api shows on `~/me`: JSON in ASCII."""
        if not self.set.enforced:
            return b'{"allowed":true,"remaining":null,"resetAt":null,"limit":null,"policies":[]}'
        told = self.told()
        quota, remaining, reset = self.closest(told)
        rules = [self.set.rules[i] for i in self.set.enforced]
        policies = [
            {"name": rule.name, "quota": rule.limit.quota, "window": rule.window_s, "remaining": r, "resetSeconds": t}
            for rule, (r, t) in zip(rules, told, strict=True)
        ]
        body = {
            "allowed": self.admitted,
            "remaining": remaining,
            "resetAt": datetime.fromtimestamp(reset, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            "limit": quota,
            "policies": policies,
        }
        return json.dumps(body, separators=(",", ":")).encode("ascii")


def _used_up(rule: Rule) -> str:
    if rule.limit.algorithm == CONCURRENCY:
        return f"{rule.limit.quota} requests are in flight"
    return f"{rule.limit.quota} requests per {rule.window_s} s are used up"


def blocked(policy_set: PolicySet, us: int, cost: int) -> Decision:
    """Refused without a look at any counter: an override of 0."""
    readings = [Reading(rule.limit.quota > 0, 0, 0, 0) for rule in policy_set.rules]
    return Decision(policy_set, policy_set.limits, readings, us, cost, admitted=False)
