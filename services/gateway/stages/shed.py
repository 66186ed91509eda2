"""Drops the least important requests while this process is near its limits (core/pressure.py, core/criticality.py).

Stands before all that costs: stores and quotas must not pay for what is dropped. So the caller is not yet known here:
its identity is only peeked at in the cache, and who is not in it counts as sheddable. One compare per request while
nothing is shed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from services.core.criticality import PRIORITY_MAX, SHEDDABLE, bands_touched, priority, under_overload
from services.core.pressure import keep_below
from services.core.verdicts import Facts, Outcome, Refusal
from services.gateway.identity import Identity
from services.gateway.tier_book import TierBook
from services.http1.exchange import Exchange

MINUTE_S: Final = 60
# by whole seconds of Retry-After; contract.md 2.2's jitter is below one for waits this short
SHED: Final = tuple(
    Refusal("temporary-reduced-capacity", "shed", retry_after_s=seconds, facts=Facts({"reason": "shed"}))
    for seconds in range(1, 6)
)


class Shed:
    """`press` says how things are, ten times a second. `refused` counts since start."""

    def __init__(self, peek: Callable[[Exchange], Identity | None], book: TierBook) -> None:
        self._peek, self._book = peek, book
        self.x = 0.0
        self.keep_below = float(PRIORITY_MAX)
        self.level = 0
        self.refused = 0

    def press(self, x: float) -> None:
        self.x = x
        self.keep_below = keep_below(x)
        self.level = bands_touched(self.keep_below)

    def __call__(self, x: Exchange) -> Outcome:
        if not self.level:
            return None
        identity = self._peek(x)
        identifier = x.client.network if identity is None else identity.identifier
        refusal = self.decide(self._class(x, identity), identifier, x.now)
        self.refused += refusal is not None
        return refusal

    def decide(self, criticality: int, identifier: str, now: float) -> Refusal | None:
        """What a caller of this class gets now; explain asks too."""
        if priority(criticality, identifier.encode(), int(now / MINUTE_S)) <= self.keep_below:
            return None
        return refusal(self.x)

    def _class(self, x: Exchange, identity: Identity | None) -> int:
        criticality: int | None = x.route.criticality
        if criticality is None:
            criticality = SHEDDABLE if identity is None else self._book.criticality(identity.tier)
        return under_overload(criticality, slow=x.class_slow)


def refusal(x: float) -> Refusal:
    """`x` is how much is too much, 0 … 1: the more, the later to come back."""
    return SHED[int(4 * x)]
