"""The endpoint, or 503. Asks breakers only; the one that is chosen changes its state in `break_circuit`.

The first draw walks by the golden ratio from a random start (Weyl's sequence: any stretch of it is spread evenly): idle
endpoints get their shares to a request or two, where independent draws are off by the square root of the count. The
second is random.
"""

from __future__ import annotations

from random import random
from typing import Final

from services.balancer.fleet import Fleet
from services.core.verdicts import Outcome
from services.http1.exchange import Exchange

GOLDEN: Final = 0.6180339887498949


class Pick:
    __slots__ = ("_chooser", "_draw", "_fleet")

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._chooser = fleet.chooser
        self._draw = random()  # noqa: S311  # balancers must not walk in step; balance, not secrecy

    def pick(self, x: Exchange) -> Outcome:
        now = x.now
        self._draw = draw = (self._draw + GOLDEN) % 1.0
        endpoint = self._chooser.pick(now, draw, random(), x.excluded)  # noqa: S311
        if endpoint is None:
            return self._fleet.nobody(now)
        x.endpoint = endpoint
        return None
