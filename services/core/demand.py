"""How much is asked of a component this second (operator.md §5.2, §5.4), from what its pods and their callers say.

Queued and refused work counts as demand, once, where capacity was missing: a fleet at its concurrency cap still shows
how much was asked of it. What cannot be seen never lowers: a sum has a `low` end (the missing count as nothing: used
to raise) and a `high` end (the missing run at the target: used to lower). All loads are integers in thousandths.

Caller: controller.decide, once a tick and metric.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

RATIO_TYPES = frozenset({"P95Latency", "LoopLag"})
"""Types whose value does not add up over pods."""
SNAPSHOT_TYPES = RATIO_TYPES | {"InFlight", "RPS", "CPU"}
"""Types that are read from snapshots; of others nothing can be said here."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One ready pod's snapshot; `fresh` False = none that counts. Latencies in ms, cpu in percent of a core.

    `new` False: of an earlier visit, as not all pods are asked at each.
    """

    fresh: bool = True
    new: bool = True
    in_flight: float = 0.0
    rps: float = 0.0
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    cpu: float = 0.0
    loop_lag_ms: float = 0.0
    shed_rps: float = 0.0
    queue_depth: float = 0.0
    refused_rps: float = 0.0


@dataclass(frozen=True, slots=True)
class Demand:
    """A component's value in thousandths. `missing`: nothing can be said, `low` and `high` are 0 then."""

    low: int
    high: int
    fresh: int
    ready: int
    missing: bool = False


def demand(kind: str, pods: Sequence[Reading], callers: Sequence[Reading], target_milli: int) -> Demand:
    """The value of metric `kind` over ready `pods`; `callers` are the ready pods of the component before it."""
    fresh = [pod for pod in pods if pod.fresh]
    if kind not in SNAPSHOT_TYPES:
        return Demand(0, 0, len(fresh), len(pods), missing=True)
    seen = [caller for caller in callers if caller.fresh]
    value = _ratio(kind, _new(fresh)) if kind in RATIO_TYPES else _sum(kind, pods, callers)
    if not fresh or 2 * len(fresh) < len(pods) or not _sane(fresh, seen) or not math.isfinite(value):
        return Demand(0, 0, len(fresh), len(pods), missing=True)
    low = round(value * 1000)
    unseen = 0 if kind in RATIO_TYPES else _unseen(pods) + _unseen(callers)
    return Demand(low, low + unseen * target_milli, len(fresh), len(pods))


def _new(readings: Sequence[Reading]) -> list[Reading]:
    """The latest of the fresh ones; where none is new, all."""
    fresh = [reading for reading in readings if reading.fresh]
    return [reading for reading in fresh if reading.new] or fresh


def _sampled(readings: Sequence[Reading]) -> bool:
    return any(reading.fresh and not reading.new for reading in readings)


def _unseen(readings: Sequence[Reading]) -> int:
    """How many may carry anything; of a sample's rest the mean is known."""
    return 0 if _sampled(readings) else sum(not reading.fresh for reading in readings)


def _total(readings: Sequence[Reading], field: Callable[[Reading], float]) -> float:
    """The sum over all: what is there, or, of a sample, its mean times all."""
    found = _new(readings)
    total = math.fsum(field(reading) for reading in found)
    return total * len(readings) / len(found) if _sampled(readings) else total


def _sum(kind: str, pods: Sequence[Reading], callers: Sequence[Reading]) -> float:
    if kind == "CPU":
        return _total(pods, lambda pod: pod.cpu)
    turned_away = _total(pods, lambda pod: pod.shed_rps) + _total(callers, lambda caller: caller.refused_rps)
    if kind == "RPS":
        return _total(pods, lambda pod: pod.rps) + turned_away
    waiting = _total(callers, lambda caller: caller.queue_depth)
    return _total(pods, lambda pod: pod.in_flight) + waiting + turned_away * _median_ms(_new(pods)) / 1000


def _ratio(kind: str, pods: Sequence[Reading]) -> float:
    if kind == "LoopLag":
        return math.fsum(pod.loop_lag_ms for pod in pods) / max(1, len(pods))
    return _weighted([(pod.p95_ms, pod.rps) for pod in pods])


def _median_ms(pods: Sequence[Reading]) -> float:
    return _weighted([(pod.p50_ms, pod.rps) for pod in pods])


def _weighted(pairs: Sequence[tuple[float, float]]) -> float:
    total = math.fsum(weight for _, weight in pairs)
    return math.fsum(value * weight for value, weight in pairs) / total if total > 0 else 0.0


def _sane(pods: Sequence[Reading], callers: Sequence[Reading]) -> bool:
    return all(math.isfinite(value) and value >= 0 for reading in (*pods, *callers) for value in _values(reading))


def _values(reading: Reading) -> tuple[float, ...]:
    return (
        reading.in_flight,
        reading.rps,
        reading.p50_ms,
        reading.p95_ms,
        reading.cpu,
        reading.loop_lag_ms,
        reading.shed_rps,
        reading.queue_depth,
        reading.refused_rps,
    )
