from __future__ import annotations

import pytest

from services.gateway.access_log import AccessLog
from services.gateway.stages.measure import GONE, Measure
from services.http1.heads import UpstreamHead
from services.runtime.vitals import Traffic
from tests.unit.gateway.doubles import exchange, metrics, record, table


@pytest.fixture
def measure():
    refusals = metrics().counter("refusals_total", "R", ("stage", "reason"))
    measure = Measure(table(), Traffic(), refusals, AccessLog(1000), lambda _x: "limit")
    measure.refusals = refusals  # type: ignore[attr-defined]
    return measure


def ended(measure, status: int, *, path: bytes = b"/api/v1/status", reason: str = "", upstream: bool = False):
    x = exchange(path=path)
    measure(x)
    x.route, x.status, x.reason, x.bytes_in, x.bytes_out = record(path=path), status, reason, 3, 5
    x.head = UpstreamHead() if upstream else None
    measure.on_finish(x)
    return x


def test_in_flight_goes_up_and_down(measure):
    """Back at zero when all have ended."""
    x = exchange()
    measure(x)
    assert measure.in_flight == 1
    measure.on_finish(x)
    assert measure.in_flight == 0


def test_old_fault_13c_n_requests_raise_each_counter_by_n(measure):
    """Series, traffic and bytes agree."""
    meters = [ended(measure, 200, upstream=True).route.meter for _ in range(5)]
    assert sum(meter.statuses[200].n for meter in meters) == 5
    assert (measure._traffic.requests, measure._traffic.errors) == (5, 0)
    assert (measure.bytes_in, measure.bytes_out) == (15, 25)


def test_refusals_are_counted_by_stage_and_reason(measure):
    """Only our own: an api's 429 is the api's."""
    ended(measure, 429, reason="quota")
    ended(measure, 429, reason="quota", upstream=True)
    assert measure.refusals.items() == [(("limit", "quota"), 1)]


def test_server_errors_and_vanished_clients(measure):
    """5xx raise the error rate; a client that left is 499 and no error."""
    ended(measure, 503, reason="no-balancer")
    gone = ended(measure, 0, reason="client-gone")
    assert (measure._traffic.requests, measure._traffic.errors) == (2, 1)
    assert gone.route.meter.statuses[GONE].n == 1
    assert measure.refusals.items() == [(("limit", "no-balancer"), 1)]


def test_health_is_no_traffic(measure):
    """Probes have their series and nothing else."""
    x = ended(measure, 200, path=b"/ready")
    assert x.route.meter.statuses[200].n == 1
    assert measure._traffic.requests == 0


def test_a_malformed_request_is_counted_as_other(measure):
    """It never met `route`."""
    x = exchange()
    measure(x)
    x.status, x.reason = 400, "parser"
    measure.on_finish(x)
    assert measure._table.meter(b"GET", "other").statuses[400].n == 1


def test_a_tunnel_took_as_long_as_its_handshake(measure):
    """A conversation of an hour is no slow answer."""
    x = exchange()
    measure(x)
    x.route, x.status, x.upstream_s, x.now = record(), 101, 0.002, x.started + 3600
    measure.on_finish(x)
    assert measure._traffic.durations.total == 0.002
