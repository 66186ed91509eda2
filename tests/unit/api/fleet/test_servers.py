from __future__ import annotations

from typing import Any

from services.api.fleet.servers import merge


def row(**more: Any) -> dict[str, Any]:
    usual = {"url": "http://a:1", "healthy": True, "weight": 1, "currentConnections": 1, "totalRequests": 100}
    return {**usual, "failedRequests": 1, "lastCheck": None, "lastError": None, "circuitState": "closed", **more}


def test_one_row_per_server_over_all_balancers() -> None:
    """Counts add up; one balancer that finds it unhealthy is enough; before the first request the rate is N/A."""
    worse = row(healthy=False, circuitState="open", lastCheck="2026-01-01T00:00:00.000Z", lastError="timeout")
    idle = row(url="http://b:1", totalRequests=0, failedRequests=0)
    first, second = merge([[row(), idle], [worse]])
    assert (first["healthy"], first["totalRequests"], first["successRate"]) == (False, 200, "99.00%")
    assert (first["circuitState"], first["lastError"]) == ("open", "timeout")
    assert second["successRate"] == "N/A"
