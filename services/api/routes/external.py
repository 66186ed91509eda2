"""`~/external`, the demo dependency behind its breaker, and how it behaves (contract.md 1.4)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from fastapi import Depends, Response
from pydantic import Field

from services.api.access import ADMIN, ANY, VIEWER, AccessRouter, Caller, caller
from services.api.cache import Found
from services.api.deeds import recorded
from services.api.errors import Problem
from services.api.external.behaviour import Behaviour
from services.api.external.dependency import NAME, Refused
from services.api.models import AnswerModel, ApiModel, Time, rfc3339
from services.api.services import Deps, Services

router = AccessRouter(tags=("External",))
Who = Annotated[Caller, Depends(caller)]


class ExternalAnswer(AnswerModel):
    """`_stale`: the dependency failed, this is its last good answer."""

    data: Any
    timestamp: Time
    served_by: str
    cached: bool
    stale: Annotated[bool, Field(alias="_stale")] = True


class BehaviourBody(ApiModel):
    """How the simulator behaves, in every api."""

    failure_rate: Annotated[float, Field(ge=0, le=1)] = 0.1
    latency_ms: Annotated[float, Field(ge=0, le=10_000)] = 200
    hang: bool = False


class BehaviourAnswer(AnswerModel):
    failure_rate: float
    latency_ms: float
    hang: bool


@router.get("/api/v1/external", access=ANY, response_model=ExternalAnswer, summary="Ask the external dependency")
async def external(services: Deps) -> Response:
    found = await services.external.get()
    if isinstance(found, Refused):
        text = f"The circuit breaker {NAME} is {found.state}."
        raise Problem("circuit-open", text, retry_after_s=found.retry_after_s, breaker=NAME, circuitState=found.state)
    if not isinstance(found, Found):
        raise Problem("external-error", headers={"Proxy-Status": _whose_fault(services)})
    members: dict[str, Any] = {
        "data": msgspec.Raw(found.entry.body),
        "timestamp": rfc3339(datetime.fromtimestamp(found.entry.stored, UTC)),
        "servedBy": services.settings.instance_id,
        "cached": found.cached,
    }
    if found.stale:
        members["_stale"] = True
    return Response(msgspec.json.encode(members), headers=found.headers(), media_type="application/json")


@router.get(
    "/api/v1/admin/external",
    access=VIEWER,
    response_model=BehaviourAnswer,
    summary="How the simulated dependency behaves",
)
async def get_behaviour(services: Deps) -> BehaviourAnswer:
    _demo_only(services)
    return _answer(await services.external.behaviour.read())


@router.put(
    "/api/v1/admin/external",
    access=ADMIN,
    response_model=BehaviourAnswer,
    summary="Make the simulated dependency behave otherwise",
)
async def put_behaviour(services: Deps, who: Who, body: BehaviourBody) -> BehaviourAnswer:
    _demo_only(services)
    behaviour = Behaviour(body.failure_rate, body.latency_ms, body.hang)
    await recorded(services, who, "admin.action", ("external", NAME), body.model_dump(by_alias=True))
    await services.external.behaviour.write(behaviour)
    return _answer(behaviour)


def _whose_fault(services: Services) -> str:
    """RFC 9209: this api works, what it asked does not; the balancer's breakers go by it (docs/adr/0005)."""
    return f'api-{services.settings.instance_id}; error=destination_unavailable; next-hop="{NAME}"'


def _demo_only(services: Services) -> None:
    if not services.settings.demo_mode or services.settings.external_url is not None:
        raise Problem("not-found")


def _answer(behaviour: Behaviour) -> BehaviourAnswer:
    return BehaviourAnswer(failure_rate=behaviour.failure_rate, latency_ms=behaviour.latency_ms, hang=behaviour.hang)
