"""The endpoint, or 503. Asks breakers only; the one that is chosen changes its state in `break_circuit`.

The first draw walks by the golden ratio from a random start (Weyl's sequence: any stretch of it is spread evenly): idle
endpoints get their shares to a request or two, where independent draws are off by the square root of the count. The
second is random.
"""

from __future__ import annotations

from random import random
from typing import Final

from services.balancer.fleet import Fleet
from services.balancer.placing import Placing
from services.core.verdicts import Outcome
from services.http1.exchange import Exchange

GOLDEN: Final = 0.6180339887498949


class Pick:
    __slots__ = ("_chooser", "_draw", "_fleet", "_placing")

    def __init__(self, fleet: Fleet, placing: Placing | None = None) -> None:
        self._fleet = fleet
        self._placing = placing
        self._chooser = fleet.chooser
        self._draw = random()  # noqa: S311  # balancers must not walk in step; balance, not secrecy

    def pick(self, x: Exchange) -> Outcome:
        now = x.now
        self._draw = draw = (self._draw + GOLDEN) % 1.0
        second = random()  # noqa: S311
        endpoint = None if self._placing is None else self._placing.place(x, draw, second)
        if endpoint is None:
            endpoint = self._chooser.pick(now, draw, second, x.excluded)
        if endpoint is None:
            return self._fleet.nobody(now)
        x.endpoint = endpoint
        return None
