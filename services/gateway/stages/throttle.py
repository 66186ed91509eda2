"""Drops a share of what would go to a balancer tier that has no room for it (core/throttle.py).

Last before `forward`, which counts what became of the others: it saves the hop alone. critical-plus always passes, so
recovery is seen.
"""

from __future__ import annotations

from random import random

from services.core.criticality import CRITICAL_PLUS
from services.core.throttle import Throttle
from services.core.verdicts import Outcome
from services.gateway.stages.shed import refusal
from services.http1.exchange import Exchange


class ThrottleStage:
    """`refused` counts since start."""

    def __init__(self, throttle: Throttle) -> None:
        self._throttle = throttle
        self.refused = 0

    def __call__(self, x: Exchange) -> Outcome:
        p = self._throttle.p
        if not p or x.criticality == CRITICAL_PLUS or random() >= p:  # noqa: S311  # a share, no secret
            return None
        self.refused += 1
        return refusal(p)
