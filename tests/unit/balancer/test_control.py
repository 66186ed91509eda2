"""The control routes, over ASGI."""

from __future__ import annotations

import httpx
from fastapi import FastAPI

from services.balancer.control import control_router
from services.balancer.endpoints import DRAINING, STARTING
from services.core.breaker import CLOSED, OPEN
from tests.unit.balancer.fakes import Bench


def client(bench: Bench) -> httpx.AsyncClient:
    app = FastAPI()
    app.include_router(control_router(bench.fleet))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://control/control/v1")


async def test_endpoints_drain_and_enable() -> None:
    """Listed, drained from the next pick on, enabled again; 404 for an unknown id, 422 for a time out of range."""
    bench = Bench(2)
    endpoint = bench.endpoint("api-1")
    async with client(bench) as http:
        listed = (await http.get("/endpoints")).json()
        assert [row["id"] for row in listed["servers"]] == ["api-1", "api-2"]
        assert listed["counts"]["healthy"] == 2
        answer = await http.post("/endpoints/api-1/drain", json={"timeoutSeconds": 30})
        assert (answer.status_code, answer.json()["server"]["state"]) == (202, "draining")
        assert endpoint.state == DRAINING
        assert bench.fleet.chooser.targets == (bench.endpoint("api-2"),)
        answer = await http.post("/endpoints/api-1/enable")
        assert (answer.status_code, endpoint.state) == (202, STARTING)
        assert (await http.post("/endpoints/api-1/drain")).status_code == 202
        assert (await http.post("/endpoints/api-9/drain")).status_code == 404
        assert (await http.post("/endpoints/api-1/drain", json={"timeoutSeconds": 601})).status_code == 422


async def test_breakers_force_lift_reset() -> None:
    """Listed by name, forced, lifted, reset; an unknown name is 404 and makes none."""
    bench = Bench(2)
    breaker = bench.endpoint("api-1").switch
    async with client(bench) as http:
        assert list((await http.get("/breakers")).json()) == ["api-1", "api-2"]
        body = {"state": "open", "ttlSeconds": 60, "reason": "maintenance"}
        assert (await http.post("/breakers/api-1/force", json=body)).json()["state"] == "open"
        assert (breaker.state, breaker.forced) == (OPEN, "open")
        assert (await http.delete("/breakers/api-1/force")).json()["state"] == "closed"
        assert (await http.delete("/breakers/api-1/force")).status_code == 200
        await http.post("/breakers/api-1/force", json=body)
        assert (await http.post("/breakers/api-1/reset")).json()["state"] == "closed"
        assert breaker.state == CLOSED
        for method, path in (("POST", "reset"), ("POST", "force"), ("DELETE", "force")):
            answer = await http.request(method, f"/breakers/nobody/{path}", json=body)
            assert answer.status_code == 404
        assert list((await http.get("/breakers")).json()) == ["api-1", "api-2"]
        assert (await http.post("/breakers/api-1/force", json={**body, "ttlSeconds": 3601})).status_code == 422


async def test_explain() -> None:
    """This process's part of explain: its endpoints and what a request would find."""
    async with client(Bench(1)) as http:
        found = (await http.post("/explain", json={"method": "GET", "path": "/x"})).json()
    assert found["upstream"]["verdict"] == "forward"
