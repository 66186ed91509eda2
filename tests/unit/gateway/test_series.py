from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from services.gateway.series import GatewaySeries
from tests.unit.gateway.doubles import metrics


def test_the_contracts_series_are_there():
    """Names, labels and values of contract.md section 8."""
    own = metrics()
    series = GatewaySeries(own)
    measure: Any = SimpleNamespace(in_flight=2, bytes_in=10, bytes_out=20)
    rows = [("free", "free-burst", "reject", 3)]
    limiter: Any = SimpleNamespace(degraded=True, unknown_tiers=4, counts=SimpleNamespace(rows=lambda: rows))
    server: Any = SimpleNamespace(
        client_aborts=5,
        bad_requests={"parser": 6},
        connection_states=lambda: {"idle": 7, "active": 1},
        refused_connections=8,
    )
    series.watch(measure, limiter)
    series.watch_server(server)
    series.refusals.inc("limit", "quota")
    series.auth.inc("key", "ok")
    text = own.render("")[0].decode()
    for line in (
        "gateway_in_flight 2.0",
        "gateway_limiter_degraded 1.0",
        'gateway_limit_decisions_total{decision="reject",policy="free-burst",tier="free"} 3.0',
        "gateway_unknown_tier_total 4.0",
        'gateway_connections{state="idle"} 7.0',
        'gateway_bad_requests_total{reason="parser"} 6.0',
        "gateway_client_aborts_total 5.0",
        "gateway_refused_connections_total 8.0",
        "gateway_request_bytes_total 10.0",
        "gateway_response_bytes_total 20.0",
        'gateway_refusals_total{reason="quota",stage="limit"} 1.0',
        'gateway_auth_total{result="ok",via="key"} 1.0',
        "gateway_limit_seconds_count 0.0",
    ):
        assert line in text, line
