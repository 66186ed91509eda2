"""Outlier ejection: a target that fails far more often than its peers rests for a while (Envoy's success-rate
detector).

Called by the balancer each INTERVAL_S with what was counted since. Pure. Overload answers are no failures; the caller
leaves them out. `may_be_away` is the cap all status-based verdicts share, breakers included: one route that answers 500
must not take a service away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Final

INTERVAL_S: Final = 10.0
MIN_TARGETS: Final = 5  # fewer make no meaningful deviation
MIN_REQUESTS: Final = 100
DEVIATIONS: Final = 1.9
BASE_S: Final = 30.0
MAX_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One target's interval: `times` it was ejected in a row so far."""

    id: str
    requests: int
    failures: int
    times: int


@dataclass(frozen=True, slots=True)
class Ejection:
    id: str
    seconds: float
    rate: float
    threshold: float


def may_be_away(total: int, percent: float) -> int:
    """How many of `total` targets may be ejected or open by status failures at once: one always."""
    return max(1, int(total * percent / 100))


def ejection_seconds(times: int) -> float:
    """How long the `times`-th ejection in a row lasts."""
    return min(BASE_S * times, MAX_S)


def after_clean_interval(times: int) -> int:
    return max(0, times - 1)


def judge(samples: Sequence[Sample], room: int) -> tuple[Ejection, ...]:
    """Whom to eject, worst first, `room` at most. `samples`: targets in service; those with few requests are not
    judged.
    """
    rated = [(1.0 - sample.failures / sample.requests, sample) for sample in samples if sample.requests >= MIN_REQUESTS]
    if len(rated) < MIN_TARGETS or room <= 0:
        return ()
    mean = sum(rate for rate, _ in rated) / len(rated)
    deviation = sqrt(sum((rate - mean) ** 2 for rate, _ in rated) / len(rated))
    threshold = mean - DEVIATIONS * deviation
    bad = sorted((pair for pair in rated if pair[0] < threshold), key=lambda pair: pair[0])
    return tuple(
        Ejection(sample.id, ejection_seconds(sample.times + 1), rate, threshold) for rate, sample in bad[:room]
    )
