"""The admin routes over a fleet of real processes: metrics, limits, overrides, cache, breakers, tiers, explain,
`/lb/status`, health.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import redis.asyncio

from services.core.identity import Claims
from services.schema.tiers import BUILT_IN
from tests.harness.fleet import Fleet
from tests.harness.stores import Database, ValkeyServer
from tests.harness.wait import eventually
from tests.integration.api_process import ADMIN_SESSION, USER, USER_SESSION, Api, identity
from tests.integration.signed import send

ADMIN = "/api/v1/admin"
VIEWER_SESSION = identity(USER, "viewer", sid="2" * 64)


@pytest.fixture
async def fleet(database: Database, valkey: ValkeyServer) -> AsyncIterator[Fleet]:
    async with Fleet(database, valkey, gateways=2, balancers=2, apis=2) as fleet:
        yield fleet


async def ask(
    fleet: Fleet, method: str, path: str, who: Claims | None = ADMIN_SESSION, api: int = 0, **options: Any
) -> httpx.Response:
    return await send(fleet, fleet.api_nodes[api], method, ADMIN + path, who, **options)


async def get(fleet: Fleet, path: str, api: int = 0) -> dict[str, Any]:
    answer = await ask(fleet, "GET", path, api=api)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def spend(fleet: Fleet, key: str, times: int) -> None:
    async with fleet.client() as http:
        for _ in range(times):
            assert (await http.get("/api/v1/info", headers={"X-API-Key": key})).status_code == 200


def identifier_of(key: str) -> str:
    return "key:" + key.split("_")[2]


async def test_old_fault_13d(fleet: Fleet) -> None:
    """GET and POST of one route stay apart, and the figures are the same whichever api answers."""
    keys = await fleet.keys()
    async with fleet.client() as http:
        headers = {"X-API-Key": keys["pro"]}
        for _ in range(7):
            await http.get("/api/v1/resources", headers=headers)
        for _ in range(3):
            await http.post("/api/v1/resources", headers=headers, json={"name": "n", "type": "document"})
        await http.get("/api/v1/nothing-here")
    one, two = await get(fleet, "/metrics"), await get(fleet, "/metrics", api=1)
    for found in (one, two):
        assert found["requests"]["GET /api/v1/resources"] == {"total": 7, "byStatus": {"200": 7}}
        assert found["requests"]["POST /api/v1/resources"] == {"total": 3, "byStatus": {"201": 3}}
        assert found["requests"]["GET other"]["byStatus"] == {"404": 1}
        assert found["durations"]["GET /api/v1/resources"]["count"] == 7
        assert found["partial"] is False
    assert one["requests"] == two["requests"]
    durations = one["durations"]["GET /api/v1/resources"]
    assert 0 < durations["p50"] <= durations["p90"] <= durations["p99"]


async def test_old_fault_13b(fleet: Fleet) -> None:
    """A reset moves this view's baseline for every api; the processes' counters and histograms never fall; durations
    are seconds.
    """

    async def totals() -> dict[str, float]:
        found = {}
        for node in fleet.nodes:
            async with fleet.control(node) as control:
                for line in (await control.metrics()).splitlines():
                    if not line.startswith("#") and "_http_request" in line:
                        name, _, value = line.rpartition(" ")
                        found[f"{node.id} {name}"] = float(value)
        return found

    async with fleet.client() as http:
        for _ in range(5):
            await http.get("/api/v1/info")
        before = await totals()
        assert (await get(fleet, "/metrics"))["requests"]["GET /api/v1/info"]["total"] == 5
        answer = await ask(fleet, "POST", "/metrics/reset")
        assert (answer.status_code, answer.json()) == (200, {"message": "Metrics reset"})
        for api in (0, 1):
            assert (await get(fleet, "/metrics", api=api))["requests"] == {}
        await http.get("/api/v1/info")
    assert (await get(fleet, "/metrics", api=1))["requests"] == {
        "GET /api/v1/info": {"total": 1, "byStatus": {"200": 1}}
    }
    after = await totals()
    assert before.keys() <= after.keys()
    assert all(after[name] >= value for name, value in before.items())
    seconds = [v for n, v in after.items() if "gateway_http_request_duration_seconds_sum" in n and "/api/v1/info" in n]
    assert 0 < sum(seconds) < 5


async def test_a_dead_process_is_told(fleet: Fleet) -> None:
    """A process that does not answer makes the view partial, and is named; the rest is there."""
    dead = fleet.balancer_nodes[0]
    await get(fleet, "/dashboard")
    await fleet.kill(dead, publish=False)

    async def partial() -> bool:
        found = await get(fleet, "/dashboard")
        return bool(found["partial"] and found["fleet"]["missing"] == [dead.id])

    await eventually(partial, 5.0, "the dashboard names the dead balancer")
    assert "metrics" in (await get(fleet, "/dashboard"))


async def test_dashboard(fleet: Fleet) -> None:
    """Metrics, breakers, cache and components in one object; `current` has the rates."""
    found = await get(fleet, "/dashboard")
    assert found["instanceId"] == "api-1"
    assert {name: row["ready"] for name, row in found["fleet"]["components"].items()} == {
        "api": 2,
        "balancer": 2,
        "gateway": 2,
    }
    assert {"external-service", "api-1", "api-2"} <= set(found["circuitBreakers"])
    current = await get(fleet, "/metrics/current")
    assert {s["id"]: s["status"] for s in current["servers"]} == {"api-1": "healthy", "api-2": "healthy"}


async def test_old_fault_6b(fleet: Fleet) -> None:
    """Rate-limit status shows the identifier's own tier and override, and ten reads change no counter."""
    key = (await fleet.keys())["pro"]
    name = identifier_of(key)
    await spend(fleet, key, 4)
    for api in (0, 1) * 5:
        found = await get(fleet, f"/rate-limits/{name}", api=api)
        assert (found["identifier"], found["tier"], found["tierSource"]) == (name, "pro", "key")
        assert (found["limit"], found["currentCount"], found["remaining"], found["windowMs"]) == (
            10_000,
            4,
            9_996,
            60_000,
        )
        assert [p["name"] for p in found["policies"]] == ["pro", "pro-burst"]
        assert found["override"] is None
    body = {"identifier": name, "requestsPerMinute": 50, "burstLimit": 5, "reason": "abuse"}
    assert (await ask(fleet, "POST", "/rate-limit-overrides", json=body)).status_code == 201
    found = await get(fleet, f"/rate-limits/{name}")
    assert found["override"]["requestsPerMinute"] == 50
    assert [(p["name"], p["quota"]) for p in found["policies"]] == [("override", 50), ("override-burst", 5)]
    user = await get(fleet, f"/rate-limits/user:{USER}")
    assert (user["tier"], user["tierSource"]) == ("free", "user")
    assert (await get(fleet, "/rate-limits/ip:2001:db8:1::7"))["identifier"] == "ip:2001:db8:1::/64"
    for nobody in ("key:aaaaaaaaaa", "user:00000000-0000-0000-0000-0000000000ff", "nobody", "key:*", "ip:300.1.1.1"):
        assert (await ask(fleet, "GET", f"/rate-limits/{nobody}")).status_code == 404


async def test_a_tier_whose_policies_are_all_off(fleet: Fleet) -> None:
    """It limits nobody: rate-limit status shows no policy and no numbers, explain admits, `~/me` says allowed."""
    free = next(tier for tier in BUILT_IN.spec.tiers if tier.name == "free")
    off = free.model_copy(update={"policies": tuple(p.model_copy(update={"mode": "off"}) for p in free.policies)})
    tiers = tuple(off if tier is free else tier for tier in BUILT_IN.spec.tiers)
    await fleet.push_tiers(BUILT_IN.spec.model_copy(update={"tiers": tiers}))
    key = (await fleet.keys())["free"]
    name = identifier_of(key)

    async def unlimited() -> bool:
        found = await get(fleet, f"/rate-limits/{name}")
        assert (found["identifier"], found["tier"]) == (name, "free")
        return [found[m] for m in ("policies", "currentCount", "limit", "remaining", "windowMs")] == [[], *[None] * 4]

    await eventually(unlimited, 5, "the api knows the new document")
    asked = {"method": "GET", "path": "/api/v1/info", "identifier": name}
    explained = (await ask(fleet, "POST", "/explain", json=asked)).json()
    assert (explained["policies"], explained["verdict"]["outcome"]) == ([], "admit")
    async with fleet.client() as http:
        limit = (await http.get("/api/v1/me", headers={"X-API-Key": key})).json()["rateLimit"]
    assert (limit["allowed"], limit["policies"]) == (True, [])


async def test_forget(fleet: Fleet) -> None:
    """After DELETE the counters are gone and a caller that was refused is admitted at once by every gateway."""
    key = (await fleet.keys())["free"]
    name = identifier_of(key)
    body = {"identifier": name, "requestsPerMinute": 3, "reason": "small"}
    assert (await ask(fleet, "POST", "/rate-limit-overrides", json=body)).status_code == 201

    async def status(node: int) -> int:
        async with fleet.client(node=fleet.gateway_nodes[node]) as http:
            return (await http.get("/api/v1/info", headers={"X-API-Key": key})).status_code

    async def refused() -> bool:
        return [await status(0), await status(1)] == [429, 429]

    await eventually(refused, 3.0, "both gateways refuse")
    assert (await ask(fleet, "DELETE", f"/rate-limits/{name}")).status_code == 204
    assert (await get(fleet, f"/rate-limits/{name}"))["currentCount"] == 0

    async def admitted() -> bool:
        return 200 in [await status(0), await status(1)]

    await eventually(admitted, 1.0, "it is admitted again")


async def test_overrides(fleet: Fleet) -> None:
    """Created, listed, read, replaced, deleted; one per identifier; in force within 2 s; each change audited."""
    path = "/rate-limit-overrides"
    body = {"identifier": "ip:10.0.0.0/8", "requestsPerMinute": 7, "reason": "office"}
    made = await ask(fleet, "POST", path, json=body, headers={"Idempotency-Key": '"a"'})
    again = await ask(fleet, "POST", path, json=body, headers={"Idempotency-Key": '"a"'}, api=1)
    assert (made.status_code, again.status_code, again.json()) == (201, 201, made.json())
    row = made.json()["override"]
    assert made.headers["location"] == f"{ADMIN}{path}/{row['id']}"
    assert row | body | {"mode": "enforce", "burstLimit": None, "expiresAt": None} == row
    twin = await ask(fleet, "POST", path, json=body)
    assert (twin.status_code, twin.json()["reason"]) == (409, "duplicate")
    assert (await get(fleet, f"{path}/{row['id']}"))["override"] == row
    assert (await get(fleet, path, api=1))["overrides"] == [row]
    assert (await get(fleet, "/rate-limits/ip:10.1.2.3"))["limit"] == 7
    changed = await ask(fleet, "PUT", f"{path}/{row['id']}", json=body | {"requestsPerMinute": 0, "mode": "shadow"})
    assert (changed.status_code, changed.json()["override"]["mode"]) == (200, "shadow")
    found = await get(fleet, "/rate-limits/ip:10.1.2.3")
    assert (found["limit"], found["remaining"], found["policies"][0]["mode"]) == (0, 0, "shadow")
    assert (await ask(fleet, "DELETE", f"{path}/{row['id']}")).status_code == 204
    assert (await ask(fleet, "DELETE", f"{path}/{row['id']}")).status_code == 404
    assert (await ask(fleet, "GET", f"{path}/not-a-uuid")).status_code == 404
    for wrong in (
        {"identifier": "nobody"},
        {"identifier": "key:UPPER*"},
        {"identifier": "ip:10.0.0.0/64"},
        {"requestsPerMinute": -1},
        {"requestsPerMinute": 10_000_001},
        {"burstLimit": 0},
        {"mode": "off"},
        {"reason": ""},
        {"expiresAt": "2020-01-01T00:00:00Z"},
        {"expiresAt": "tomorrow"},
        {"createdBy": USER},
    ):
        assert (await ask(fleet, "POST", path, json=body | wrong)).status_code == 400, wrong
    assert (await ask(fleet, "POST", path, VIEWER_SESSION, json=body)).status_code == 403
    assert (await ask(fleet, "GET", path, VIEWER_SESSION)).status_code == 200
    assert (await ask(fleet, "GET", path, USER_SESSION)).status_code == 403


async def test_old_fault_12b(fleet: Fleet) -> None:
    """The balancers' breakers are in the admin list beside the api's own; resetting an unknown one is 404 and makes
    none.
    """
    found = await get(fleet, "/circuit-breakers")
    assert set(found) - {"redis"} == {"api-1", "api-2", "external-service"}
    assert [p["component"] for p in found["api-1"]["processes"]] == ["balancer", "balancer"]
    for name in ("nobody", "api-3", "API-1", "external_service"):
        assert (await ask(fleet, "POST", f"/circuit-breakers/{name}/reset")).status_code == 404
        body = {"state": "open", "ttlSeconds": 5, "reason": "r"}
        assert (await ask(fleet, "PUT", f"/circuit-breakers/{name}/force", json=body)).status_code == 404
    assert set(await get(fleet, "/circuit-breakers")) == set(found)


async def test_force_and_reset(fleet: Fleet) -> None:
    """A forced breaker is so in every process that has it; the requests follow; reset closes it everywhere."""
    body = {"state": "open", "ttlSeconds": 60, "reason": "a try"}
    forced = await ask(fleet, "PUT", "/circuit-breakers/api-1/force", json=body)
    assert (forced.json()["state"], forced.json()["processes"]) == ("open", 2)
    row = (await get(fleet, "/circuit-breakers", api=1))["api-1"]
    assert (row["state"], row["forced"]) == ("open", True)
    assert row["stats"]["stateChanges"][-1]["to"] == "open"
    async with fleet.client() as http:
        seen = {(await http.get("/api/v1/info")).json()["instanceId"] for _ in range(20)}
    assert seen == {"api-2"}
    lifted = await ask(fleet, "DELETE", "/circuit-breakers/api-1/force")
    assert (lifted.json()["state"], lifted.json()["until"], lifted.json()["processes"]) == ("closed", None, 2)
    await ask(fleet, "PUT", "/circuit-breakers/external-service/force", json=body)
    assert (await send(fleet, fleet.api_nodes[1], "GET", "/api/v1/external")).status_code == 503
    reset = await ask(fleet, "POST", "/circuit-breakers/external-service/reset")
    assert (reset.status_code, reset.json()["state"]) == (200, "closed")
    assert (await get(fleet, "/circuit-breakers"))["external-service"]["forced"] is False


async def test_tiers(fleet: Fleet) -> None:
    """The document in force, who acknowledged it, an ETag; after a push the new one, by every gateway and balancer."""
    found = await get(fleet, "/tiers")
    assert found["hash"] == BUILT_IN.hash
    assert found["document"]["spec"]["tiers"][0]["name"] == "anonymous"
    assert {a["instance"] for a in found["acks"]} == {"gateway-1", "gateway-2", "balancer-1", "balancer-2"}
    assert found["stale"] == []
    answer = await ask(fleet, "GET", "/tiers")
    again = await ask(fleet, "GET", "/tiers", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304
    spec = BUILT_IN.spec.model_copy(update={"default_tier": "pro"})
    pushed = await fleet.push_tiers(spec)

    async def enforced() -> bool:
        seen = [await get(fleet, "/tiers", api=api) for api in (0, 1)]
        return all(one["hash"] == pushed.hash and one["stale"] == [] for one in seen)

    await eventually(enforced, 5.0, "the pushed document is shown")
    assert (await get(fleet, "/tiers"))["document"]["spec"]["defaultTier"] == "pro"
    assert (await get(fleet, "/tiers"))["revision"] == pushed.revision


async def test_explain(fleet: Fleet) -> None:
    """Invariant 39: explain's verdict is what the next real request gets, and asking spends nothing."""
    key = (await fleet.keys())["free"]
    name = identifier_of(key)
    body = {"identifier": name, "requestsPerMinute": 2, "reason": "small"}
    assert (await ask(fleet, "POST", "/rate-limit-overrides", json=body)).status_code == 201
    question = {"method": "GET", "path": "/api/v1/info", "identifier": name}

    async def explained() -> dict[str, Any]:
        answer = await ask(fleet, "POST", "/explain", json=question)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def in_force() -> bool:
        return (await explained())["override"] is not None

    await eventually(in_force, 3.0, "the gateways know the override")
    async with fleet.client() as http:
        for expected in (200, 200, 429):
            found = await explained()
            real = await http.get("/api/v1/info", headers={"X-API-Key": key})
            assert real.status_code == expected
            assert found["verdict"]["outcome"] == ("admit" if expected == 200 else "reject")
            assert found["verdict"]["status"] == (None if expected == 200 else 429)
    assert found["identity"] == {"identifier": name, "tier": "free", "tierSource": "key", "scopes": ["read", "write"]}
    assert found["request"]["route"] == "/api/v1/info"
    assert {e["id"] for e in found["upstream"]["endpoints"]} == {"api-1", "api-2"}
    assert len(found["answeredBy"]) == 2
    question = {"method": "GET", "path": "/api/v1/admin/cache", "identifier": f"user:{USER}"}
    found = await explained()
    assert (found["identity"]["tier"], found["request"]["criticality"]) == ("free", "critical-plus")
    for wrong in (
        {"method": "get", "path": "/"},
        {"method": "GET", "path": "x"},
        {"method": "GET", "path": "/", "ip": "192.0.2.1", "apiKeyId": "0123456789"},
        {"method": "GET", "path": "/", "identifier": "ip:nowhere"},
    ):
        assert (await ask(fleet, "POST", "/explain", json=wrong)).status_code == 400, wrong
    gone = {"method": "GET", "path": "/", "identifier": "user:00000000-0000-0000-0000-0000000000ff"}
    assert (await ask(fleet, "POST", "/explain", json=gone)).status_code == 404


async def test_lb_status(database: Database, valkey: ValkeyServer) -> None:
    """Servers over all balancers; without PUBLIC_OPS=open only for viewers."""
    closed = {component: {"PUBLIC_OPS": "auth"} for component in ("api", "gateway", "balancer")}
    async with Fleet(database, valkey, gateways=1, balancers=2, apis=2, env=closed) as fleet:
        async with fleet.client() as http:
            for _ in range(10):
                await http.get("/api/v1/info")
        node = fleet.api_nodes[0]
        found = (await send(fleet, node, "GET", "/lb/status", VIEWER_SESSION)).json()
        assert (found["totalServers"], found["healthyServers"]) == (2, 2)
        assert {s["url"] for s in found["servers"]} == {n.url for n in fleet.api_nodes}
        assert sum(s["totalRequests"] for s in found["servers"]) >= 10
        assert {s["successRate"] for s in found["servers"]} == {"100.00%"}
        assert {s["circuitState"] for s in found["servers"]} == {"closed"}
        assert (await send(fleet, node, "GET", "/lb/status")).status_code == 401
        assert (await send(fleet, node, "GET", "/lb/status", USER_SESSION)).status_code == 403
        assert (await send(fleet, node, "GET", "/metrics")).status_code == 404


async def test_old_fault_13a(database: Database, valkey: ValkeyServer) -> None:
    """The api's part: thousands of paths and made-up methods add no series; the route label is the template."""
    async with Api.open(database, valkey, public_ops="open") as api:
        await api.get("/api/v1/resources/1")

        async def series() -> set[str]:
            text = (await api.get("/metrics")).text
            return {line.rpartition(" ")[0] for line in text.splitlines() if line.startswith("api_http_")}

        await api.get("/no/such/path")
        await api.send("PROPFIND", "/api/v1/info")
        await series()
        before = await series()
        for start in range(0, 2000, 100):
            await asyncio.gather(*(api.get(f"/no/{n}/{n}") for n in range(start, start + 100)))
            await api.get(f"/api/v1/resources/{start + 1}")
            await api.send(("MKCOL", "SEARCH", "PURGE", "LOCK")[start % 4], "/api/v1/info")
        new = await series() - before
        assert all('status="404"' in line or 'route="/metrics"' in line for line in new), new
        assert len(new) <= 20
        assert any('route="/api/v1/resources/{id}"' in line for line in before)
        assert any('method="_OTHER"' in line for line in before)


async def test_health(database: Database, own_valkey: ValkeyServer) -> None:
    """`/health` tells degraded dependencies and stays 200; `/ready` stays green without Redis and turns red while
    draining.
    """
    async with Api.open(database, own_valkey) as api:
        await eventually(lambda: len(api.service.services.probes.up) == 2, 3.0, "both stores were asked")
        found = (await api.get("/health")).json()
        assert (found["status"], found["service"], found["instanceId"]) == ("healthy", "api-server", "api-1")
        assert found["dependencies"] == {"database": True, "redis": True}
        api.service._runtime.started = True
        for path in ("/ready", "/health/ready"):
            assert (await api.get(path)).json()["status"] == "ready"
        assert (await api.get("/health/live")).json() == {"status": "alive"}
        own_valkey.kill()
        await api.service.services.probes.look()
        away = await api.get("/health")
        assert (away.status_code, away.json()["status"]) == (200, "degraded")
        assert (await api.get("/ready")).status_code == 200
        assert (await api.get("/ready")).json()["redis"] is False
        assert (await api.get("/api/v1/status")).json()["status"] == "degraded"
        api.service._runtime.drain.set(on=True, timeout_s=30)
        draining = await api.get("/ready")
        assert (draining.status_code, draining.json()["checks"]["serving"]) == (503, False)


async def test_every_write_is_audited(database: Database, valkey: ValkeyServer) -> None:
    """Each admin write leaves its row, also if what follows cannot be done."""
    async with Api.open(database, valkey) as api:
        await api.post(f"{ADMIN}/metrics/reset", ADMIN_SESSION)
        await api.post(f"{ADMIN}/cache/clear", ADMIN_SESSION)
        await api.post(f"{ADMIN}/cache/purge", ADMIN_SESSION, json={"namespace": "lists"})
        await api.post(f"{ADMIN}/cache/purge", ADMIN_SESSION, json={"namespace": "lists", "dryRun": True})
        await api.delete(f"{ADMIN}/rate-limits/ip:192.0.2.1", ADMIN_SESSION)
        body = {"identifier": "ip:192.0.2.1", "requestsPerMinute": 1, "reason": "r"}
        made = await api.post(f"{ADMIN}/rate-limit-overrides", ADMIN_SESSION, json=body)
        path = f"{ADMIN}/rate-limit-overrides/{made.json()['override']['id']}"
        await api.send("PUT", path, ADMIN_SESSION, json=body)
        await api.delete(path, ADMIN_SESSION)
        assert await api.actions() == [
            "admin.action",
            "cache.cleared",
            "cache.cleared",
            "admin.action",
            "rate_limit.override_created",
            "rate_limit.override_changed",
            "rate_limit.override_deleted",
        ]


async def test_messages(database: Database, valkey: ValkeyServer) -> None:
    """An override and a forget are told on `inv:identity`, so gateways look again and empty their deny caches."""
    store = redis.asyncio.Redis.from_url(valkey.url)
    async with Api.open(database, valkey) as api, store.pubsub() as heard:
        await heard.subscribe("inv:identity")
        await api.delete(f"{ADMIN}/rate-limits/ip:192.0.2.1", ADMIN_SESSION)
        body = {"identifier": "ip:192.0.2.2", "requestsPerMinute": 1, "reason": "r"}
        await api.post(f"{ADMIN}/rate-limit-overrides", ADMIN_SESSION, json=body)
        said: set[bytes] = set()

        async def all_said() -> bool:
            message = await heard.get_message(ignore_subscribe_messages=True, timeout=0.1)
            if message is not None:
                said.add(message["data"])
            return said >= {b"override:ip:192.0.2.1", b"override:ip:192.0.2.2"}

        await eventually(all_said, 2.0, "both are said")
        assert said == {b"override:ip:192.0.2.1", b"override:ip:192.0.2.2"}
    await store.aclose()
