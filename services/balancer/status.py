"""How the balancer shows itself: its servers and breakers (control port, `/lb/status`), its health, its part of the
snapshot.

Read by people and the control plane a few times a second at most; everything is worked out from the endpoints' plain
numbers here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from time import monotonic, time
from typing import Any, Final

from services.balancer.endpoints import HEALTHY, IN_SERVICE, Endpoint
from services.balancer.fleet import Fleet
from services.core.balancing import slow_start_weight
from services.core.breaker import STATE_NAMES, Breaker
from services.core.verdicts import Answer
from services.runtime import breakers as runtime_breakers
from services.runtime.endpoints import authority
from services.runtime.vitals import rfc3339
from services.schema.snapshot import EndpointState

JSON: Final = (b"Content-Type: application/json\r\n", b"Cache-Control: no-store\r\n")


def servers(fleet: Fleet) -> list[dict[str, Any]]:
    """contract.md 1.8's servers, this process's part: cpu and memory are the api's own to tell."""
    now = monotonic()
    total_rps = sum(endpoint.rps for endpoint in fleet.endpoints.values())
    return [server(endpoint, total_rps, now) for endpoint in fleet.endpoints.values()]


def server(endpoint: Endpoint, total_rps: float, now: float) -> dict[str, Any]:
    info = endpoint.info
    address = authority(info.host, info.port)
    return {
        "id": endpoint.id,
        "component": "api",
        "address": address,
        "url": f"http://{address}",
        "status": "healthy" if endpoint.state in IN_SERVICE else "unhealthy",
        "state": endpoint.state,
        "healthy": endpoint.state == HEALTHY,
        "weight": info.weight,
        "effectiveWeight": round(slow_start_weight(info.weight, now - endpoint.ready_at), 3),
        "connections": endpoint.pool.open_count,
        "currentConnections": endpoint.active,
        "inFlight": endpoint.active,
        "totalRequests": endpoint.requests,
        "failedRequests": endpoint.failures,
        "successRate": success_rate(endpoint.requests, endpoint.failures),
        "rps": round(endpoint.rps, 3),
        "share": round(endpoint.rps / total_rps, 4) if total_rps else 0.0,
        "latency": round(endpoint.cost * 1000, 3),
        "load": round(endpoint.util, 3),
        "circuitState": STATE_NAMES[endpoint.switch.state],
        "lastCheck": rfc3339(endpoint.last_check) if endpoint.last_check else None,
        "lastError": endpoint.last_error or None,
    }


def success_rate(requests: int, failures: int) -> str:
    return f"{100 * (requests - failures) / requests:.2f}%" if requests else "N/A"


def breakers(fleet: Fleet) -> dict[str, dict[str, Any]]:
    """By name: an endpoint's instance id."""
    return {breaker.name: describe(breaker) for breaker in _switches(fleet)}


def describe(breaker: Breaker) -> dict[str, Any]:
    return runtime_breakers.describe(breaker, monotonic(), time())


def snapshot_parts(fleet: Fleet) -> dict[str, Any]:
    return {
        "breakers": tuple(runtime_breakers.state_of(describe(breaker)) for breaker in _switches(fleet)),
        "endpoints": tuple(EndpointState(endpoint.id, endpoint.state) for endpoint in fleet.endpoints.values()),
    }


def upstream(fleet: Fleet) -> dict[str, Any]:
    """explain: what a request would find here now; nothing is spent."""
    refusal = None if fleet.chooser.any_admits(monotonic()) else fleet.nobody(monotonic(), asked=False)
    rows = [
        {"id": endpoint.id, "state": endpoint.state, "breaker": STATE_NAMES[endpoint.switch.state]}
        for endpoint in fleet.endpoints.values()
    ]
    return {"endpoints": rows, "verdict": refusal.slug if refusal else "forward"}


class Health:
    """`/health`, `/ready`, `/health/live` of the data port, from memory."""

    def __init__(self, fleet: Fleet, version: str, instance: str) -> None:
        self._fleet = fleet
        self._version = version
        self._instance = instance
        self._started = monotonic()

    def health(self) -> Answer:
        healthy, total = self._fleet.healthy, len(self._fleet.endpoints)
        body = {
            "status": "healthy" if healthy else "unhealthy",
            "service": "load-balancer",
            "version": self._version,
            "timestamp": datetime.fromtimestamp(time(), UTC).isoformat(timespec="milliseconds"),
            "uptime": round(monotonic() - self._started, 3),
            "backends": {"total": total, "healthy": healthy},
        }
        return answer(200 if healthy else 503, body)

    def live(self) -> Answer:
        return answer(200, {"status": "alive"})

    def ready(self, checks: dict[str, bool]) -> Answer:
        good = all(checks.values())
        body = {"status": "ready" if good else "not ready", "checks": checks, "instanceId": self._instance}
        return answer(200 if good else 503, body)


def answer(status: int, body: dict[str, Any]) -> Answer:
    return Answer(status, JSON, json.dumps(body, separators=(",", ":")).encode())


def _switches(fleet: Fleet) -> Iterable[Breaker]:
    return [endpoint.switch for endpoint in fleet.endpoints.values()]
