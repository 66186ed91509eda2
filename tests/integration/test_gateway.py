"""The gateway as a process, before real balancers and apis, with real stores."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator

import asyncpg
import httpx
import pytest

from services.runtime.http_client import ControlError
from services.schema.tiers import BUILT_IN, Policy, RouteRule, Tier, document, render
from tests.harness.fleet import Fleet
from tests.harness.load import OpenLoop
from tests.harness.stores import Database, ValkeyServer
from tests.harness.wait import eventually

ADMIN = {"email": "admin@example.com", "password": "admin123"}


@pytest.fixture
async def fleet(database: Database, valkey: ValkeyServer) -> AsyncIterator[Fleet]:
    async with Fleet(database, valkey, gateways=1, balancers=1, apis=1) as running:
        yield running


async def token(http: httpx.AsyncClient) -> str:
    answer = await http.post("/api/v1/auth/login", json=ADMIN)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["token"])


def remaining(answer: httpx.Response) -> int:
    return int(answer.headers["x-ratelimit-remaining"])


async def series(fleet: Fleet, name: str) -> dict[str, float]:
    async with fleet.control(fleet.gateway_nodes[0]) as control:
        text = await control.metrics()
    found = re.findall(rf"^({name}(?:\{{.*\}})?) (\S+)$", text, re.MULTILINE)
    return {labels: float(value) for labels, value in found}


async def test_an_answer_carries_what_the_contract_says(fleet: Fleet) -> None:
    """Ids, who served it, times, limits, security fields; the request id is the client's to the end."""
    async with fleet.client() as http:
        answer = await http.get("/api/v1/status", headers={"x-request-id": "my.own-id_1"})
        assert answer.status_code == 200
        got = answer.headers
        assert (got["x-request-id"], got["x-served-by"], got["via"]) == ("my.own-id_1", "api-1", "1.1 gateway")
        assert re.fullmatch(r"\d+\.\dms", got["x-response-time"])
        assert got["ratelimit-policy"] == '"anonymous";q=100;w=60'
        assert (got["x-content-type-options"], got["referrer-policy"]) == ("nosniff", "no-referrer")
        assert {"server", "x-api-load", "server-timing", "access-control-allow-origin"}.isdisjoint(got)
        assert len(got.get_list("x-request-id")) == len(got.get_list("x-content-type-options")) == 1
        wrong = await http.request("DELETE", "/api/v1/status")
        assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
        assert wrong.json()["requestId"] == wrong.headers["x-request-id"]
        assert wrong.headers["x-served-by"] == "gateway-1"
        options = await http.options("/api/v1/resources")
        assert (options.status_code, options.headers["allow"]) == (204, "GET, HEAD, POST, OPTIONS")
        large = await http.post("/api/v1/auth/login", content=b"x" * 5000)
        assert (large.status_code, large.json()["limit"]) == (413, 4096)


async def test_old_fault_14d_request_ids_of_any_length(fleet: Fleet) -> None:
    """64 characters arrive as they are; 65 are replaced by the trace id, which is the client's own if it sent one."""
    trace = "0af7651916cd43dd8448eb211c80319c"
    async with fleet.client() as http:
        kept = await http.get("/api/v1/status", headers={"x-request-id": "a" * 64})
        assert kept.headers["x-request-id"] == "a" * 64
        parent = {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}
        replaced = await http.get("/api/v1/status", headers=parent | {"x-request-id": "a" * 65})
        assert replaced.headers["x-request-id"] == trace


async def test_old_fault_4_each_identifier_has_its_own_quota(fleet: Fleet) -> None:
    """Two keys behind one address do not share, nor does the address itself; each has its tier's limit."""
    keys = await fleet.keys()
    async with fleet.client() as http:
        anonymous = await http.get("/api/v1/status")
        pro = await http.get("/api/v1/status", headers={"x-api-key": keys["pro"]})
        free = await http.get("/api/v1/status", headers={"authorization": f"Bearer {keys['free']}"})
        assert [remaining(answer) for answer in (anonymous, pro, free)] == [99, 1999, 499]
        assert '"pro";q=10000;w=60' in pro.headers["ratelimit-policy"]
        assert free.json()["user"]["tier"] == "free"


async def test_old_fault_5a_a_forged_address_changes_nothing(fleet: Fleet) -> None:
    """A new X-Forwarded-For, X-Client-IP or identity header per request: the same identifier, the same quota."""
    async with fleet.client() as http:
        for number in range(5):
            forged = {"x-forwarded-for": f"198.51.100.{number}", "x-client-ip": "198.51.100.9", "x-real-ip": "1.1.1.1"}
            answer = await http.get("/api/v1/status", headers=forged | {"x-gateway-identity": "v1.e30.AAAA"})
            assert (answer.status_code, remaining(answer)) == (200, 99 - number)
            assert answer.json()["user"] is None


async def test_old_fault_5b_behind_a_trusted_proxy(database: Database, valkey: ValkeyServer) -> None:
    """The address a trusted proxy names is limited; two of one IPv6 /64 share."""
    env = {"gateway": {"TRUSTED_PROXIES": "127.0.0.0/8"}}
    async with Fleet(database, valkey, apis=1, env=env) as fleet, fleet.client() as http:
        left = []
        for address in ("203.0.113.1", "203.0.113.2", "203.0.113.1", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"):
            answer = await http.get("/api/v1/status", headers={"x-forwarded-for": f"6.6.6.6, {address}"})
            left.append(remaining(answer))
        assert left == [99, 99, 98, 99, 98, 99]


async def test_sessions_and_who_may_see_metrics(database: Database, valkey: ValkeyServer) -> None:
    """Log in, be known, log out, be unknown within a second. Old faults 7c, 13e: no built-in token, no open metrics."""
    closed = {component: {"PUBLIC_OPS": "auth"} for component in ("gateway", "balancer", "api")}
    async with Fleet(database, valkey, apis=1, env=closed) as fleet, fleet.client() as http:
        for path in ("/metrics", "/lb/status"):
            assert (await http.get(path)).status_code == 401
            stranger = await http.get(path, headers={"authorization": "Bearer admin-token-dev"})
            assert (stranger.status_code, stranger.json()["code"]) == (401, "INVALID_TOKEN")
        bearer = {"authorization": f"Bearer {await token(http)}"}
        assert "gateway_http_requests_total" in (await http.get("/metrics", headers=bearer)).text
        assert (await http.get("/lb/status", headers=bearer)).json()["totalServers"] == 1
        status = await http.get("/api/v1/status", headers=bearer)
        assert status.json()["user"]["email"] == ADMIN["email"]
        assert "upstream;dur=" in status.headers["server-timing"]
        assert (await http.post("/api/v1/auth/logout", headers=bearer)).status_code == 200

        async def out() -> bool:
            return (await http.get("/api/v1/status", headers=bearer)).status_code == 401

        await eventually(out, 1.5, "the session is over")


async def test_old_fault_7d_a_revoked_key_is_refused_within_two_seconds(
    database: Database, valkey: ValkeyServer
) -> None:
    """On every gateway, by message; a change made by hand in the database travels as well."""
    async with Fleet(database, valkey, gateways=2, apis=1) as fleet:
        keys = await fleet.keys()
        clients = [fleet.client(node=node) for node in fleet.gateway_nodes]
        for http in clients:
            assert (await http.get("/api/v1/status", headers={"x-api-key": keys["pro"]})).status_code == 200
        owner = await asyncpg.connect(database.owner)
        await owner.execute("UPDATE api_keys SET revoked_at = now() WHERE id = $1", keys["pro"].split("_")[2])
        await owner.close()
        revoked_at = time.monotonic()

        async def refused() -> bool:
            answers = [await http.get("/api/v1/status", headers={"x-api-key": keys["pro"]}) for http in clients]
            return [answer.status_code for answer in answers] == [401, 401]

        await eventually(refused, 2.0, "both gateways refuse the key")
        print(f"a revoked key → refused by both: {time.monotonic() - revoked_at:.2f} s")
        for http in clients:
            await http.aclose()


async def test_old_fault_7d_without_redis_it_ends_with_the_cache(database: Database, own_valkey: ValkeyServer) -> None:
    """Redis down: no message, but a cached key is read again after its lifetime (60 s; here 2)."""
    async with Fleet(database, own_valkey, apis=1, env={"gateway": {"KEY_CACHE_TTL": "2"}}) as fleet:
        keys = await fleet.keys()
        async with fleet.client() as http:
            header = {"x-api-key": keys["pro"]}
            assert (await http.get("/api/v1/info", headers=header)).status_code == 200
            own_valkey.kill()
            owner = await asyncpg.connect(database.owner)
            await owner.execute("UPDATE api_keys SET revoked_at = now()")
            await owner.close()

            async def refused() -> bool:
                return (await http.get("/api/v1/info", headers=header)).status_code == 401

            await eventually(refused, 5, "the key is refused")


async def test_redis_away_logs_nobody_out(database: Database, own_valkey: ValkeyServer) -> None:
    """A session that was seen lives on, an unknown one is 503 and not 401; keys and anonymous callers pass, degraded."""
    async with Fleet(database, own_valkey, apis=1) as fleet, fleet.client() as http:
        seen = {"authorization": f"Bearer {await token(http)}"}
        unseen = {"authorization": f"Bearer {await token(http)}"}
        assert (await http.get("/api/v1/info", headers=seen)).status_code == 200
        own_valkey.kill()

        async def degraded() -> bool:
            return bool((await http.get("/api/v1/info")).headers.get("ratelimit-degraded") == "?1")

        await eventually(degraded, 2, "limits are local")
        assert (await http.get("/api/v1/info", headers=seen)).status_code == 200
        answer = await http.get("/api/v1/info", headers=unseen)
        assert (answer.status_code, answer.json()["dependency"]) == (503, "redis")
        assert int(answer.headers["retry-after"]) >= 1
        async with fleet.control(fleet.gateway_nodes[0]) as control:
            snapshot = await control.snapshot()
        assert "redis" in snapshot.degraded
        assert snapshot.limiter is not None
        assert snapshot.limiter.mode == "local"


async def test_old_fault_11_health_depends_on_no_store() -> None:
    """Without Redis and Postgres from the start: alive, ready once it knows a balancer, and it forwards."""
    async with Fleet(None, None, gateways=1, balancers=1, apis=1) as fleet, fleet.client() as http:
        for path in ("/health", "/ready", "/health/ready", "/health/live"):
            assert (await http.get(path)).status_code == 200, path
        assert (await http.get("/api/v1/info")).status_code == 200
        key = "sk_test_0000000000_0000000000000000000000000000000000000000000_000000"
        assert (await http.get("/api/v1/info", headers={"x-api-key": key})).status_code == 401


async def test_old_fault_13a_and_13c_series(fleet: Fleet) -> None:
    """Paths nobody knows and wrong methods add no series; N requests raise the counter by N."""
    async with fleet.client(source="127.0.0.9") as http:
        before = len(await series(fleet, "gateway_http_requests_total"))
        for number in range(60):
            await http.get(f"/nowhere/{number}")
        for _ in range(20):
            await http.request("DELETE", "/api/v1/status")
        counted = await series(fleet, "gateway_http_requests_total")
        assert len(counted) <= before + 2
        assert counted['gateway_http_requests_total{method="GET",route="other",status="404"}'] == 60
        assert counted['gateway_http_requests_total{method="DELETE",route="other",status="405"}'] == 20
        assert (await series(fleet, "gateway_in_flight"))["gateway_in_flight"] == 0


async def test_old_fault_15c_cors(database: Database, valkey: ValkeyServer) -> None:
    """A listed origin gets its name and credentials on answers and refusals alike; another one nothing."""
    env = {"gateway": {"CORS_ORIGINS": "https://app.example"}}
    async with Fleet(database, valkey, apis=1, env=env) as fleet, fleet.client() as http:
        for method, path in (("GET", "/api/v1/status"), ("DELETE", "/api/v1/status"), ("GET", "/nowhere")):
            listed = await http.request(method, path, headers={"origin": "https://app.example"})
            assert listed.headers["access-control-allow-origin"] == "https://app.example"
            assert listed.headers["access-control-allow-credentials"] == "true"
            other = await http.request(method, path, headers={"origin": "https://evil.example"})
            assert not [name for name in other.headers if name.startswith("access-control")]
        asked = {"origin": "https://app.example", "access-control-request-method": "PUT"}
        preflight = await http.options("/api/v1/resources/1", headers=asked)
        assert preflight.status_code == 204
        assert "PUT" in preflight.headers["access-control-allow-methods"]


async def test_a_tiers_document_is_enforced_and_acknowledged(fleet: Fleet) -> None:
    """A pushed document counts from the next request; a wrong one is 422, names the field and changes nothing."""
    tiny = Tier(name="anonymous", criticality="sheddable", policies=(Policy(name="anonymous", quota=10, window=60),))
    costly = RouteRule(match="GET /api/v1/info", cost=6)
    spec = BUILT_IN.spec.model_copy(
        update={"tiers": (tiny, *BUILT_IN.spec.tiers[1:]), "routes": (costly, *BUILT_IN.spec.routes)}
    )
    taken = await fleet.push_tiers(spec)
    async with fleet.client(source="127.0.0.11") as http, fleet.control(fleet.gateway_nodes[0]) as control:
        assert remaining(await http.get("/api/v1/info")) == 4
        assert (await http.get("/api/v1/info")).status_code == 429
        assert remaining(await http.get("/api/v1/status")) == 3
        wrong = render(document(fleet.revision + 1, spec)).replace(b"quota: 10,", b"quota: -10,")
        with pytest.raises(ControlError) as refused:
            await control.push_tiers(wrong)
        assert refused.value.status == 422
        assert "quota" in refused.value.errors[0]
        snapshot = await control.snapshot()
        assert snapshot.tier is not None
        assert snapshot.tier.hash == taken.hash


async def test_explain_tells_what_the_next_request_gets(fleet: Fleet) -> None:
    """By key, by address, after a quota is used up; asking spends nothing."""
    keys = await fleet.keys()
    key_id = keys["free"].split("_")[2]
    async with fleet.client(source="127.0.0.12") as http, fleet.control(fleet.gateway_nodes[0]) as control:
        asked = {"method": "GET", "path": "/api/v1/status", "apiKeyId": key_id}
        for _ in range(3):
            found = await control.explain(asked)
        assert found["verdict"]["outcome"] == "admit"
        assert found["identity"]["tier"] == "free"
        assert [policy["remaining"] for policy in found["policies"]] == [1000, 500]
        for _ in range(101):
            last = await http.get("/api/v1/info")
        assert last.status_code == 429
        refused = await control.explain({"method": "GET", "path": "/api/v1/info", "ip": "127.0.0.12"})
        assert (refused["verdict"]["stage"], refused["verdict"]["status"]) == ("limit", 429)
        assert 1 <= refused["verdict"]["retryAfter"] <= int(last.headers["retry-after"]) + 1


async def test_old_fault_10f_a_killed_balancer_fails_no_idempotent_request(
    database: Database, valkey: ValkeyServer
) -> None:
    """Under load one of two balancers is killed without a word: what it carried is replayed on the other."""
    async with Fleet(database, valkey, balancers=2, apis=2) as fleet:
        keys = await fleet.keys()
        load = OpenLoop(fleet.url, rate=200, seconds=4, path="/api/v1/info", headers={"x-api-key": keys["enterprise"]})
        running = asyncio.ensure_future(load.run())
        await eventually(lambda: len(load.report.samples) > 200, 5, "the load runs")
        await fleet.kill(fleet.balancer_nodes[0], publish=False)
        report = await running
        assert report.failed == [], str(report)
        assert report.statuses[200] == 800


async def test_old_fault_15d_sigterm_cuts_no_request(database: Database, valkey: ValkeyServer) -> None:
    """Two gateways under load, one is told to end: every request is answered whole, exit code 0 in time."""
    async with Fleet(database, valkey, gateways=2, apis=1) as fleet:
        keys = await fleet.keys()
        leaving, staying = fleet.gateway_nodes
        urls = [leaving.url, staying.url]
        load = OpenLoop(urls, rate=200, seconds=6, path="/api/v1/info", headers={"x-api-key": keys["enterprise"]})
        running = asyncio.ensure_future(load.run())
        await eventually(lambda: len(load.report.samples) > 200, 5, "the load runs")
        ended = asyncio.ensure_future(fleet.term(leaving))

        async def red() -> bool:
            async with fleet.control(leaving) as control:
                return not await control.ready()

        await eventually(red, 3, "readiness is red")
        urls[:] = [staying.url, staying.url]  # whoever balances over gateways has seen it
        started = time.monotonic()
        assert await ended == 0
        delay = float(fleet.plan.drain_seconds)
        assert time.monotonic() - started < delay + 10
        report = await running
        assert report.failed == [], str(report)
