"""What is asked of a component: formulas of operator.md §5.2, partial sight of §5.4, P18."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.demand import Demand, Reading, demand

PODS = [
    Reading(in_flight=3, rps=10, p50_ms=100, p95_ms=200, cpu=50, loop_lag_ms=1),
    Reading(in_flight=5, rps=30, p50_ms=300, p95_ms=400, cpu=70, loop_lag_ms=3),
]
BLIND = Reading(fresh=False)


@pytest.mark.parametrize(
    ("kind", "milli"),
    [("InFlight", 8000), ("RPS", 40_000), ("CPU", 120_000), ("P95Latency", 350_000), ("LoopLag", 2000)],
)
def test_values(kind, milli):
    """Sums add up; latencies are weighted by rps, lags are averaged."""
    assert demand(kind, PODS, [], 1000) == Demand(milli, milli, 2, 2)


def test_idle_pods_have_no_latency():
    """Without requests there is no weight, and no division by it."""
    assert demand("P95Latency", [Reading(p95_ms=9)], [], 1000).low == 0


def test_p18_refused_work_counts_once():
    """Shed by the pods, refused and queued by the callers: demand, once each, for RPS and for InFlight."""
    pods = [Reading(in_flight=1, rps=10, p50_ms=500, shed_rps=4)]
    callers = [Reading(queue_depth=2, refused_rps=6, rps=99, in_flight=99)]
    assert demand("RPS", pods, callers, 1000).low == 20_000
    assert demand("InFlight", pods, callers, 1000).low == 1000 + 2000 + 5000
    assert demand("CPU", pods, callers, 1000).low == 0


def test_what_is_not_seen_counts_as_the_target_when_lowering():
    """Half of the pods fresh is enough; the others are 0 below and the target above, as are blind callers."""
    assert demand("RPS", [PODS[0], BLIND], [], 7000) == Demand(10_000, 17_000, 1, 2)
    assert demand("RPS", [PODS[0]], [BLIND], 7000) == Demand(10_000, 17_000, 1, 1)
    assert demand("LoopLag", [PODS[0], BLIND], [], 7000) == Demand(1000, 1000, 1, 2)


@pytest.mark.parametrize("pods", [[], [BLIND], [PODS[0], BLIND, BLIND]])
def test_too_little_sight_is_no_sight(pods):
    """Under half of the ready pods, or none: missing."""
    assert demand("RPS", pods, [], 1000).missing


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
def test_nonsense_is_missing(value):
    """NaN, infinity and negative numbers are no data, whichever member they stand in, whoever says them."""
    assert demand("RPS", [Reading(cpu=value)], [], 1000).missing
    assert demand("RPS", [PODS[0]], [Reading(queue_depth=value)], 1000).missing


def test_an_overflow_is_missing():
    """Finite members whose sum is not."""
    assert demand("P95Latency", [Reading(p95_ms=1e308, rps=1e308)], [], 1000).missing


@given(st.permutations([*PODS, BLIND]), st.sampled_from(["InFlight", "RPS", "CPU", "P95Latency", "LoopLag"]))
def test_p9_the_order_of_pods_does_not_matter(pods, kind):
    """The same readings in any order."""
    assert demand(kind, pods, [], 1000) == demand(kind, [*PODS, BLIND], [], 1000)


@pytest.mark.parametrize("kind", ["Prometheus", "QueueDepth"])
def test_what_a_snapshot_does_not_carry_is_missing(kind):
    """A query's number or a queue's length is not in flight requests by another name: it can lower nothing."""
    assert demand(kind, [Reading(in_flight=7)], [], 1000) == Demand(0, 0, 1, 1, missing=True)


def test_a_samples_mean_stands_for_all():
    """Where not all pods are asked at each visit, the newest answers count for all; where none is new, the older do."""
    old, new = Reading(rps=100, new=False), Reading(rps=20, loop_lag_ms=4)
    assert demand("RPS", [new, old, old, BLIND], [], 1000) == Demand(80_000, 80_000, 3, 4)
    assert demand("RPS", [old, old], [], 1000) == Demand(200_000, 200_000, 2, 2)
    assert demand("LoopLag", [new, old], [], 1000).low == 4000
