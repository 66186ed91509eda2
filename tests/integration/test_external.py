"""The external demo dependency: its breaker, its last good answer, how it is made to fail everywhere (contract.md
1.4).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.harness.fleet import Fleet
from tests.harness.stores import Database, ValkeyServer
from tests.harness.wait import eventually
from tests.integration.api_process import ADMIN_SESSION, USER_SESSION, Api

PATH = "/api/v1/external"
ADMIN_PATH = "/api/v1/admin/external"
GOOD = {"failureRate": 0.0, "latencyMs": 0.0, "hang": False}
BAD = GOOD | {"failureRate": 1.0}


@pytest.fixture
async def api(database: Database, valkey: ValkeyServer) -> AsyncIterator[Api]:
    async with Api.open(database, valkey, circuit_reset_timeout="300") as api:
        yield api


async def behave(api: Api, **members: object) -> None:
    answer = await api.send("PUT", ADMIN_PATH, ADMIN_SESSION, json=GOOD | members)
    assert (answer.status_code, answer.json()) == (200, GOOD | members)


async def test_good_answer(api: Api) -> None:
    """`data`, when, by whom; not from a cache."""
    await behave(api)
    answer = await api.get(PATH)
    assert answer.status_code == 200
    assert set(answer.json()) == {"data", "timestamp", "servedBy", "cached"}
    assert answer.json()["cached"] is False
    assert answer.headers["x-cache"] == "MISS"


async def test_failures_open_the_breaker(api: Api) -> None:
    """Without a last good answer: 502 five times, then 503 with the breaker's state and Retry-After; closed again
    after three good calls.
    """
    await behave(api, failureRate=1.0)
    answers = [await api.get(PATH) for _ in range(6)]
    assert [a.status_code for a in answers] == [502] * 5 + [503]
    assert answers[0].json()["code"] == "EXTERNAL_ERROR"
    whose = (
        f'api-{api.service.services.settings.instance_id}; error=destination_unavailable; next-hop="external-service"'
    )
    assert answers[0].headers["proxy-status"] == whose
    refused = answers[-1].json()
    assert (refused["code"], refused["breaker"], refused["circuitState"]) == (
        "CIRCUIT_OPEN",
        "external-service",
        "open",
    )
    assert int(answers[-1].headers["retry-after"]) == refused["retryAfter"] >= 1
    assert (await api.get("/api/v1/status")).json()["status"] == "degraded"
    await behave(api)

    async def good() -> bool:
        return (await api.get(PATH)).status_code == 200

    await eventually(good, 2.0, "the breaker half-opens")
    for _ in range(2):
        assert await good()
    assert api.service.services.external.breakers.all()["external-service"]["state"] == "closed"


async def test_last_good_answer_stands_in(api: Api) -> None:
    """Once it has answered, failures are covered by that answer: stale, cached, with its own time; the breaker still
    opens.
    """
    await behave(api)
    good = (await api.get(PATH)).json()
    await behave(api, failureRate=1.0)
    answers = [await api.get(PATH) for _ in range(7)]
    assert {a.status_code for a in answers} == {200}
    assert all(a.json()["_stale"] and a.json()["cached"] for a in answers)
    assert {a.json()["timestamp"] for a in answers} == {good["timestamp"]}
    assert {a.headers["x-cache"] for a in answers} == {"STALE"}
    assert api.service.services.external.breakers.all()["external-service"]["state"] == "open"


async def test_hanging_counts_as_a_failure(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dependency that says nothing is given up after the timeout."""
    monkeypatch.setattr("services.api.external.dependency.TIMEOUT_S", 0.1)
    await behave(api, hang=True)
    answers = await asyncio.gather(*(api.get(PATH) for _ in range(5)))
    assert {a.status_code for a in answers} == {502}
    row = api.service.services.external.breakers.all()["external-service"]
    assert (row["state"], row["stats"]["failedCalls"]) == ("open", 5)


async def test_behaviour_is_the_fleets(database: Database, valkey: ValkeyServer) -> None:
    """Set on one api, it holds on the other; what is out of bounds is refused; reading takes a viewer, writing an
    admin.
    """
    async with Api.open(database, valkey) as one, Api.open(database, valkey, instance_id="api-2") as two:
        await behave(one, failureRate=0.5, latencyMs=20.0)
        assert (await two.get(ADMIN_PATH, ADMIN_SESSION)).json() == GOOD | {"failureRate": 0.5, "latencyMs": 20.0}
        for wrong in ({"failureRate": 1.1}, {"latencyMs": 10_001}, {"hang": "yes"}, {"speed": 1}):
            assert (await one.send("PUT", ADMIN_PATH, ADMIN_SESSION, json=wrong)).status_code == 400
        assert (await one.get(ADMIN_PATH, USER_SESSION)).status_code == 403
        assert (await one.get(ADMIN_PATH)).status_code == 401
        assert await one.actions() == ["admin.action"]


async def test_only_in_demo_mode(database: Database, valkey: ValkeyServer) -> None:
    """Outside demo mode there is no such knob."""
    async with Api.open(database, valkey, demo_mode="false") as api:
        assert (await api.get(ADMIN_PATH, ADMIN_SESSION)).status_code == 404
        assert (await api.send("PUT", ADMIN_PATH, ADMIN_SESSION, json=BAD)).status_code == 404


async def test_a_real_one(database: Database, valkey: ValkeyServer) -> None:
    """EXTERNAL_URL is called: its JSON comes through, its 500 and its absence are failures."""
    status, body = 200, b'{"hello": [1, 2]}'

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"
    async with Api.open(database, valkey, external_url=url, cache_stale_seconds="0") as api:
        assert (await api.get(PATH)).json()["data"] == {"hello": [1, 2]}
        assert (await api.get(ADMIN_PATH, ADMIN_SESSION)).status_code == 404
        status = 500
        assert (await api.get(PATH)).status_code == 502
        server.close()
        await server.wait_closed()
        assert (await api.get(PATH)).status_code == 502


async def test_a_failing_dependency_opens_no_apis_breaker(database: Database, valkey: ValkeyServer) -> None:
    """A 502 in which an api reports its dependency says nothing against the api: it goes to the client as it is, is
    asked of no second api, opens no breaker in the balancer, and every other route stays 200.
    """
    env = {"api": {"EXTERNAL_URL": "http://127.0.0.1:1/", "CIRCUIT_FAILURE_THRESHOLD": "0"}}
    async with Fleet(database, valkey, env=env) as fleet, fleet.client() as http:
        key = {"x-api-key": (await fleet.keys())["pro"]}
        for _ in range(15):  # fewer than the apis' own breakers look at
            failed = await http.get(PATH, headers=key)
            assert (failed.status_code, failed.json()["code"]) == (502, "EXTERNAL_ERROR"), failed.text
        for _ in range(20):
            assert (await http.get("/api/v1/status", headers=key)).status_code == 200
        async with fleet.control(fleet.balancer_nodes[0]) as control:
            seen = await control.snapshot()
        assert [(b.name, b.state) for b in seen.breakers] == [("api-1", "closed"), ("api-2", "closed")]
        assert [(e.id, e.state) for e in seen.endpoints] == [("api-1", "healthy"), ("api-2", "healthy")]
        assert "balancer_retries_total{" not in (await http.get(f"{fleet.balancer_nodes[0].control_url}/metrics")).text
