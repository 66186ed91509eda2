from __future__ import annotations

from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from services.gateway.control import router
from services.gateway.store_breaker import StoreBreaker
from tests.unit.gateway.doubles import metrics
from tests.unit.gateway.test_explain import view  # noqa: F401  # a fixture


@pytest.fixture
async def client(view):  # noqa: F811
    app = FastAPI()
    own = metrics()
    breaker = StoreBreaker(own, own.histogram("limit_seconds", "L").series())
    app.include_router(router(view, view.balancers, breaker))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://control") as http:
        yield http


async def test_explain(client):
    """The gateway's part of explain; an unknown member is refused."""
    body: dict[str, Any] = {"method": "GET", "path": "/api/v1/status", "apiKeyId": "0123456789"}
    found = (await client.post("/control/v1/explain", json=body)).json()
    assert found["verdict"]["outcome"] == "admit"
    assert (await client.post("/control/v1/explain", json=body | {"x": 1})).status_code == 422


async def test_balancers_are_shown_and_drained(client):
    """State, load and address; drain and enable by id; an unknown id is 404."""
    (shown,) = (await client.get("/control/v1/endpoints")).json()["servers"]
    assert (shown["id"], shown["component"], shown["state"], shown["inFlight"]) == ("b-1", "balancer", "healthy", 0)
    drained = await client.post("/control/v1/endpoints/b-1/drain", json={"timeoutSeconds": 5})
    assert (drained.status_code, drained.json()["server"]["state"]) == (202, "draining")
    assert (await client.post("/control/v1/endpoints/b-1/drain")).status_code == 202
    assert (await client.post("/control/v1/endpoints/b-1/enable")).json()["server"]["state"] == "healthy"
    assert (await client.post("/control/v1/endpoints/none/drain")).status_code == 404
    assert (await client.post("/control/v1/endpoints/b-1/drain", json={"timeoutSeconds": 0})).status_code == 422


async def test_the_stores_breaker_is_shown(client):
    """`redis` by name; it moves by probes alone, so nothing forces it: 404."""
    rows = (await client.get("/control/v1/breakers")).json()
    assert rows["redis"]["state"] == "closed"
    assert (await client.post("/control/v1/breakers/redis/reset")).status_code == 404
