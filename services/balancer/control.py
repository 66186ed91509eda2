"""The balancer's routes of the control port: its servers with drain and enable, its breakers, its part of explain
(contract.md 1.11).
"""

from __future__ import annotations

from time import monotonic
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, HTTPException
from pydantic import Field

from services.balancer import status
from services.balancer.endpoints import Endpoint
from services.balancer.fleet import Fleet
from services.core.breaker import FORCE_MAX_S, Breaker
from services.runtime.control import ControlModel

DRAIN_MAX_S: Final = 600


class Drain(ControlModel):
    timeout_seconds: Annotated[float, Field(ge=1, le=DRAIN_MAX_S)] = 60


class Force(ControlModel):
    state: Literal["open", "closed"]
    ttl_seconds: Annotated[float, Field(ge=1, le=FORCE_MAX_S)]
    reason: Annotated[str, Field(max_length=500)] = ""


def control_router(fleet: Fleet) -> APIRouter:
    """Appended to the runtime's routers before the start."""
    router = APIRouter(prefix="/control/v1")
    _add_endpoints(router, fleet)
    _add_breakers(router, fleet)

    @router.post("/explain")
    async def explain() -> dict[str, Any]:
        return {"upstream": status.upstream(fleet)}

    return router


def _add_endpoints(router: APIRouter, fleet: Fleet) -> None:
    @router.get("/endpoints")
    async def list_endpoints() -> dict[str, Any]:
        return {"servers": status.servers(fleet), "counts": fleet.counts(), "panic": fleet.panic}

    @router.post("/endpoints/{name}/drain", status_code=202)
    async def drain(name: str, body: Drain | None = None) -> dict[str, Any]:
        endpoint = _endpoint(fleet, name)
        fleet.drain(endpoint, (body or Drain()).timeout_seconds)
        return {"server": status.server(endpoint, 0.0, monotonic())}

    @router.post("/endpoints/{name}/enable", status_code=202)
    async def enable(name: str) -> dict[str, Any]:
        endpoint = _endpoint(fleet, name)
        fleet.enable(endpoint)
        return {"server": status.server(endpoint, 0.0, monotonic())}


def _add_breakers(router: APIRouter, fleet: Fleet) -> None:
    @router.get("/breakers")
    async def list_breakers() -> dict[str, Any]:
        return status.breakers(fleet)

    @router.post("/breakers/{name}/force")
    async def force(name: str, body: Force) -> dict[str, Any]:
        breaker = _breaker(fleet, name)
        now = monotonic()
        breaker.force(body.state, now + body.ttl_seconds, body.reason, now)
        return status.describe(breaker)

    @router.delete("/breakers/{name}/force")
    async def lift(name: str) -> dict[str, Any]:
        breaker = _breaker(fleet, name)
        if breaker.forced:
            breaker.reset(monotonic())
        return status.describe(breaker)

    @router.post("/breakers/{name}/reset")
    async def reset(name: str) -> dict[str, Any]:
        breaker = _breaker(fleet, name)
        breaker.reset(monotonic())
        return status.describe(breaker)


def _endpoint(fleet: Fleet, name: str) -> Endpoint:
    endpoint = fleet.find(name)
    if endpoint is None:
        raise HTTPException(404, "this process has no endpoint of that id")
    return endpoint


def _breaker(fleet: Fleet, name: str) -> Breaker:
    endpoint = fleet.find(name)
    if endpoint is None:
        raise HTTPException(404, "this process has no breaker of that name")
    return endpoint.switch
