"""Who is tried again, how long a try may take, and who pays: retries must not multiply a failure (data-path.md §7,
reliability P11).

`RetryBudget` is Finagle's: 0.2 of a retry per first try, ten per second, at most ten seconds' worth saved up. So over
any time tries ≤ 1.2 · requests + 10 · seconds + 100. `TryTimeout` follows the pool's own p99: no constant fits a route
of 2 ms and one of 2 s. Pure; used by the balancer, and by the gateway with a budget of its own.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import Final

MAX_TRIES: Final = 3  # Google SRE
PER_REQUEST: Final = 0.2
PER_SECOND: Final = 10.0
CAPACITY: Final = 100.0  # ten seconds' worth
SECOND_RETRY_SPREAD_S: Final = 0.1  # the first retry goes at once, the second after draw · this

IDEMPOTENT: Final = frozenset((b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"))
KEYED: Final = frozenset((b"POST", b"PATCH"))  # repeatable with an Idempotency-Key

# why a try failed, as the engine and the answers name it
CONNECT_FAILURES: Final = frozenset(("connect_failed", "connect_timeout"))
REPEATABLE: Final = frozenset(
    (
        "connect_failed",
        "connect_timeout",
        "upstream_reset",
        "upstream_invalid",
        "try_timeout",
        "status_502",
        "status_503",
    )
)


class RetryBudget:
    __slots__ = ("_at", "tokens")

    def __init__(self, now: float) -> None:
        self.tokens = CAPACITY
        self._at = now

    def earn(self) -> None:
        """A request had its first try."""
        self.tokens += PER_REQUEST

    def refill(self, now: float) -> float:
        """What time has brought, capped; returns the tokens."""
        self.tokens = min(self.tokens + max(0.0, now - self._at) * PER_SECOND, CAPACITY)
        self._at = now
        return self.tokens

    def take(self, now: float) -> bool:
        """Pay for one retry."""
        if self.refill(now) < 1.0:
            return False
        self.tokens -= 1.0
        return True


def repeatable(method: bytes, keyed: bool) -> bool:
    """May this request be written twice? `keyed`: it carries an Idempotency-Key."""
    return method in IDEMPOTENT or (keyed and method in KEYED)


def may_repeat(kind: str, sent: bool, replayable: bool, tries: int) -> bool:
    """Is another try right after the `tries`-th failed with `kind`? The budget is asked by the caller, last.

    `sent`: bytes of the request may have reached the peer. `replayable`: the request is `repeatable` and its body kept
    whole.
    """
    if tries >= MAX_TRIES or kind not in REPEATABLE:
        return False
    if kind in CONNECT_FAILURES and not sent:
        return True
    return replayable


def retry_delay_s(tries: int, draw: float) -> float:
    """Wait before the next try, when `tries` have failed."""
    return 0.0 if tries <= 1 else draw * SECOND_RETRY_SPREAD_S


class TryTimeout:
    """max(250 ms, 4 · p99) of a pool's times to head, from two halves of a minute that take turns."""

    MIN_S: Final = 0.25
    TIMES: Final = 4.0
    HALF_S: Final = 30.0
    ENOUGH: Final = 20  # fewer samples make no p99
    UNKNOWN_S: Final = 2.0  # until then: a hung process must not hold the first requests to their deadline
    # a growth of 1.25 per bucket: the p99 is off by a quarter at most; 0.5 ms … 60 s
    BOUNDS: Final = tuple(0.0005 * 1.25**step for step in range(53))

    __slots__ = ("_at", "_last", "_now", "seconds")

    def __init__(self, now: float) -> None:
        self.seconds = self.UNKNOWN_S
        self._at = now
        self._now = [0] * (len(self.BOUNDS) + 1)
        self._last = [0] * (len(self.BOUNDS) + 1)

    def observe(self, seconds: float) -> None:
        self._now[bisect_left(self.BOUNDS, seconds)] += 1

    def refresh(self, now: float) -> None:
        """Ten times a second or less: work out `seconds` anew."""
        p99 = self.p99()
        if p99:
            self.seconds = max(self.MIN_S, self.TIMES * p99)
        if now - self._at >= self.HALF_S:
            self._at = now
            self._last = self._now
            self._now = [0] * (len(self.BOUNDS) + 1)

    def p99(self) -> float:
        counts = [one + other for one, other in zip(self._now, self._last, strict=True)]
        total = sum(counts)
        if total < self.ENOUGH:
            return 0.0
        cumulative = list(accumulate(counts))
        bucket = bisect_left(cumulative, 0.99 * total)
        return self.BOUNDS[min(bucket, len(self.BOUNDS) - 1)]
