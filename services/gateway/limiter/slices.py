"""Lease mode (LIMITER_LEASE_MIN_QUOTA): units of a caller with a big quota, bought from Redis by the slice and spent
from memory.

For callers so busy that a script call per request costs more than the exactness is worth. All gateways together hold
at most a twentieth of the smallest quota. Units are bought by one spend on all of the caller's policies before they
may be used, so no aligned window admits more than it has sold; they end with it, and what was not used by then is
lost: refused early by at most that twentieth. (With a life of a second, a caller of middling speed would lose so much
each second.) Used by limiter.py; `now` is monotonic.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from services.core.limits import CALENDAR, SLIDING, Limit
from services.gateway.limiter.decision import Decision

SHARE: Final = 20  # of the smallest quota: what all gateways together may hold in memory
REFILL: Final = 4  # more are bought when a quarter is left, and never so many that it would be more than a slice
TICK_S: Final = 0.001
PURCHASES_MAX: Final = 32  # a tick: 200 replies at once would hold the loop for 3 ms


def size_of(smallest_quota: int, gateways: int) -> int:
    """Units that one gateway may hold."""
    return max(1, smallest_quota // (SHARE * max(1, gateways)))


def purchase(size: int) -> int:
    """Units bought at a time."""
    return size - size // REFILL


def life_s(limits: Sequence[Limit], us: int) -> float:
    """How long units bought at `us`, the store's clock, may be used: until the first aligned window ends; without one,
    as long as the longest window.
    """
    aligned = [limit.window_ms for limit in limits if limit.algorithm in {SLIDING, CALENDAR}]
    ends = [window - us // 1000 % window for window in aligned] or [max(limit.window_ms for limit in limits)]
    return min(ends) / 1000


class Slice:
    """One caller's units in memory. `buying`: a purchase is on its way. `exact_until`: none was granted, so every
    request asks Redis until then.
    """

    __slots__ = ("buying", "decision", "exact_until", "left", "size", "until")

    def __init__(self) -> None:
        self.left = 0
        self.size = 0
        self.until = 0.0
        self.exact_until = 0.0
        self.buying = False
        self.decision: Decision | None = None

    def spend(self, cost: int, now: float) -> Decision | None:
        """The decision for a request that is paid from memory; None: there is not enough."""
        if now >= self.until:
            self.left = 0
            return None
        if cost > self.left:
            return None
        self.left -= cost
        return self.decision

    def wants(self, now: float) -> bool:
        """Should more be bought?"""
        short = self.left <= self.size // REFILL or now >= self.until
        return short and not self.buying and now >= self.exact_until

    def bought(self, size: int, decision: Decision, sent: float, now: float) -> None:
        """Redis' answer to a purchase for a slice of `size`; what is left of the one before was paid for as well."""
        until = sent + life_s(decision.limits, decision.us)
        if not decision.admitted:
            self.exact_until = until
            return
        self.left = decision.cost + (self.left if now < self.until else 0)
        self.size, self.decision, self.until = size, decision, until


class Purchases:
    """How many more there may be in this tick."""

    __slots__ = ("_count", "_tick")

    def __init__(self) -> None:
        self._tick = 0.0
        self._count = 0

    def take(self, now: float) -> bool:
        if now - self._tick >= TICK_S:
            self._tick, self._count = now, 0
        self._count += 1
        return self._count <= PURCHASES_MAX
