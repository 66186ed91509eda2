"""What the balancer shows: servers, breakers, health, its part of snapshot and explain."""

from __future__ import annotations

import json
from time import monotonic
from typing import Any

from services.balancer import status
from services.core.breaker import FAULT
from services.core.verdicts import Answer
from tests.unit.balancer.fakes import Bench


def body(answer: Answer) -> Any:
    return json.loads(answer.body)


async def test_servers() -> None:
    """contract.md 1.8's members; 5xx are failures, the rate is a percentage, N/A before the first request."""
    bench = Bench(2)
    x = bench.send()
    busy = x.endpoint
    rows = {row["id"]: row for row in status.servers(bench.fleet)}
    assert rows[busy.id]["inFlight"] == rows[busy.id]["currentConnections"] == 1
    assert rows[busy.id]["successRate"] == "N/A"
    bench.answer(x, 500)
    busy.rps = 3.0
    row = {row["id"]: row for row in status.servers(bench.fleet)}[busy.id]
    assert row["url"] == f"http://127.0.0.1:{busy.info.port}"
    assert (row["totalRequests"], row["failedRequests"], row["successRate"]) == (1, 1, "0.00%")
    assert (row["status"], row["state"], row["healthy"], row["circuitState"]) == ("healthy", "healthy", True, "closed")
    assert (row["share"], row["lastError"], row["lastCheck"]) == (1.0, "status 500", None)
    busy.last_check = 1_700_000_000.0
    assert status.server(busy, 0.0, monotonic())["lastCheck"] == "2023-11-14T22:13:20.000Z"
    assert status.success_rate(300, 3) == "99.00%"


async def test_breakers() -> None:
    """By instance id, with statistics and the last changes; open ones say when they may be asked again."""
    bench = Bench(2)
    breaker, now = bench.endpoint("api-1").switch, monotonic()
    for _ in range(5):
        breaker.record(breaker.admit(now), FAULT, now, 0.0)
    breaker.admit(now)
    rows = status.breakers(bench.fleet)
    assert list(rows) == ["api-1", "api-2"]
    row = rows["api-1"]
    assert (row["state"], row["failures"], row["reason"], row["forced"]) == ("open", 5, "5 failures in a row", False)
    assert row["retryAt"] > row["since"]
    assert row["lastFailure"] is not None
    assert row["stats"]["totalCalls"] == 6
    assert (row["stats"]["failedCalls"], row["stats"]["rejectedCalls"]) == (5, 1)
    assert [(one["from"], one["to"]) for one in row["stats"]["stateChanges"]] == [("closed", "open")]
    assert (rows["api-2"]["retryAt"], rows["api-2"]["lastFailure"]) == (None, None)
    parts = status.snapshot_parts(bench.fleet)
    assert [(one.name, one.state) for one in parts["breakers"]] == [("api-1", "open"), ("api-2", "closed")]
    assert [(one.id, one.state) for one in parts["endpoints"]] == [("api-1", "healthy"), ("api-2", "healthy")]


async def test_upstream_of_explain() -> None:
    """Forward while somebody takes requests, else the problem a request would get; nothing is counted as refused."""
    bench = Bench(1)
    assert status.upstream(bench.fleet) == {
        "endpoints": [{"id": "api-1", "state": "healthy", "breaker": "closed"}],
        "verdict": "forward",
    }
    breaker, now = bench.endpoint("api-1").switch, monotonic()
    breaker.force("open", now + 60, "test", now)
    assert status.upstream(bench.fleet)["verdict"] == "circuit-open"
    assert breaker.rejected == 0
    bench.fleet.sync(())
    assert status.upstream(bench.fleet)["verdict"] == "no-backend"


async def test_health() -> None:
    """`/health` counts backends and is 503 without a healthy one; `/ready` tells its checks; live is live."""
    bench = Bench(2)
    health = status.Health(bench.fleet, "1.0.0", "lb-1")
    found = health.health()
    assert found.status == 200
    assert {name: body(found)[name] for name in ("status", "service", "version", "backends")} == {
        "status": "healthy",
        "service": "load-balancer",
        "version": "1.0.0",
        "backends": {"total": 2, "healthy": 2},
    }
    bench.fleet.sync(())
    assert health.health().status == 503
    assert body(health.live()) == {"status": "alive"}
    ready = health.ready({"backends": True})
    assert (ready.status, body(ready)) == (
        200,
        {"status": "ready", "checks": {"backends": True}, "instanceId": "lb-1"},
    )
    assert health.ready({"backends": False}).status == 503
