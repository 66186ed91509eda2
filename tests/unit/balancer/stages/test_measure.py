"""Counts per method and status, in flight, durations."""

from __future__ import annotations

from services.balancer.stages.measure import Measure
from services.runtime.vitals import Traffic
from tests.unit.balancer.fakes import Bench


async def test_counts() -> None:
    """In flight rises and falls; unknown methods are `_OTHER`; 5xx are errors; no status, no count; health never
    entered.
    """
    traffic, bench = Traffic(), Bench(1)
    measure = Measure(traffic)
    for method, status in ((b"GET", 200), (b"GET", 503), (b"PURGE", 404), (b"GET", 0)):
        x = bench.exchange(method)
        assert measure.enter(x) is None
        assert measure.in_flight == 1
        x.status = status
        measure.leave(x)
        assert measure.in_flight == 0
    measure.leave(bench.exchange())
    assert measure.in_flight == 0
    assert (traffic.requests, traffic.errors, sum(traffic.durations.counts)) == (3, 1, 3)
    assert measure.totals() == {("GET", "200"): 1.0, ("GET", "503"): 1.0, ("_OTHER", "404"): 1.0}


async def test_a_tunnel_took_as_long_as_its_handshake() -> None:
    """A conversation of an hour is no slow answer."""
    traffic, bench = Traffic(), Bench(1)
    measure = Measure(traffic)
    x = bench.exchange()
    measure.enter(x)
    x.status, x.upstream_s, x.now = 101, 0.002, x.started + 3600
    measure.leave(x)
    assert traffic.durations.total == 0.002
