"""The gateway's own routes on the control port: explain, and its balancers (contract.md 1.11). The guard of
runtime/control.py covers them.
"""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException
from pydantic import Field

from services.gateway.balancers import Balancers, Endpoint
from services.gateway.explain import ExplainRequest, View, explain
from services.gateway.store_breaker import NAME, StoreBreaker
from services.runtime.control import DRAIN_MAX_S, ControlModel


class DrainEndpoint(ControlModel):
    timeout_seconds: Annotated[float, Field(ge=1, le=DRAIN_MAX_S)] = 60


def router(view: View, balancers: Balancers, breaker: StoreBreaker) -> APIRouter:
    routes = APIRouter(prefix="/control/v1")

    @routes.post("/explain")
    async def explained(asked: ExplainRequest) -> dict[str, Any]:
        return await explain(view, asked)

    @routes.get("/breakers")
    async def breakers() -> dict[str, Any]:
        return {NAME: breaker.row()}  # balancers are picked without one

    @routes.get("/endpoints")
    async def endpoints() -> dict[str, Any]:
        now = time.monotonic()
        return {"servers": [shown(endpoint, now) for endpoint in balancers.endpoints]}

    @routes.post("/endpoints/{endpoint_id}/drain", status_code=202)
    async def drain(endpoint_id: str, body: DrainEndpoint | None = None) -> dict[str, Any]:
        seconds = body.timeout_seconds if body is not None else 60.0
        return {"server": shown(_known(balancers.drain(endpoint_id, seconds)), time.monotonic())}

    @routes.post("/endpoints/{endpoint_id}/enable", status_code=202)
    async def enable(endpoint_id: str) -> dict[str, Any]:
        return {"server": shown(_known(balancers.drain(endpoint_id, 0)), time.monotonic())}

    return routes


def shown(endpoint: Endpoint, now: float) -> dict[str, Any]:
    return {
        "id": endpoint.id,
        "component": "balancer",
        "address": f"{endpoint.info.host}:{endpoint.info.port}",
        "state": endpoint.state(now),
        "inFlight": endpoint.active,
        "requests": endpoint.requests,
        "latency": round(1000 * endpoint.cost, 3),
        "weight": endpoint.weight,
    }


def _known(endpoint: Endpoint | None) -> Endpoint:
    if endpoint is None:
        raise HTTPException(404, "no endpoint has this id")
    return endpoint
