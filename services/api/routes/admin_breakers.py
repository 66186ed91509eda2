"""`~/admin/circuit-breakers` (contract.md 1.6): the fleet's breakers by name, reset and forced wherever they are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from fastapi import Depends
from pydantic import Field

from services.api.access import ADMIN, VIEWER, AccessRouter, Caller, caller
from services.api.deeds import recorded
from services.api.errors import Problem
from services.api.fleet import breakers
from services.api.models import AnswerModel, ApiModel, PlainText, Time
from services.api.numbers import Integer
from services.api.services import Deps, Services

router = AccessRouter(tags=("Admin: circuit breakers",))
Who = Annotated[Caller, Depends(caller)]
State = Literal["closed", "half-open", "open"]


class Change(AnswerModel):
    source: Annotated[State, Field(alias="from")]
    to: State
    timestamp: Time


class BreakerStats(AnswerModel):
    """Since the processes' starts; the last 50 changes."""

    total_calls: int
    successful_calls: int
    failed_calls: int
    rejected_calls: int
    state_changes: list[Change]


class BreakerProcess(AnswerModel):
    component: str
    instance: str
    state: State


class BreakerRow(AnswerModel):
    """`state` is the worst of its processes'."""

    name: str
    state: State
    failures: int
    last_failure: Time | None
    forced: bool
    stats: BreakerStats
    processes: list[BreakerProcess]


class ResetAnswer(AnswerModel):
    message: str
    state: State


class ForceBody(ApiModel):
    """Hold it so for a while, whatever the calls say."""

    state: Literal["open", "closed"]
    ttl_seconds: Annotated[int, Field(ge=1, le=3600), Integer]
    reason: Annotated[PlainText, Field(min_length=1, max_length=500)]


class ForceAnswer(AnswerModel):
    """`until` null: not forced any more. `processes`: how many have it."""

    name: str
    state: State
    until: Time | None
    processes: int


@router.get(
    "/api/v1/admin/circuit-breakers",
    access=VIEWER,
    response_model=dict[str, BreakerRow],
    summary="All circuit breakers by name",
)
async def list_breakers(services: Deps) -> dict[str, BreakerRow]:
    rows, _ = await breakers.listed(services.fleet)
    return {name: BreakerRow.model_validate(row) for name, row in rows.items()}


@router.post(
    "/api/v1/admin/circuit-breakers/{name}/reset",
    access=ADMIN,
    response_model=ResetAnswer,
    summary="Close a circuit breaker everywhere",
)
async def reset_breaker(services: Deps, who: Who, name: str) -> ResetAnswer:
    await _known(services, name)
    await recorded(services, who, "admin.action", ("circuit_breaker", name), {"reset": True})
    rows = _found(await breakers.reset(services.fleet, name))
    return ResetAnswer.model_validate({"message": f"Circuit breaker {name} reset", "state": breakers.worst(rows)})


@router.put(
    "/api/v1/admin/circuit-breakers/{name}/force",
    access=ADMIN,
    response_model=ForceAnswer,
    summary="Hold a circuit breaker open or closed",
)
async def force_breaker(services: Deps, who: Who, name: str, body: ForceBody) -> ForceAnswer:
    await _known(services, name)
    await recorded(services, who, "circuit_breaker.forced", ("circuit_breaker", name), body.model_dump(by_alias=True))
    until = datetime.now(UTC) + timedelta(seconds=body.ttl_seconds)
    rows = _found(await breakers.force(services.fleet, name, body.state, body.ttl_seconds, body.reason))
    return _forced(name, rows, until)


@router.delete(
    "/api/v1/admin/circuit-breakers/{name}/force",
    access=ADMIN,
    response_model=ForceAnswer,
    summary="Let a circuit breaker decide for itself again",
)
async def lift_force(services: Deps, who: Who, name: str) -> ForceAnswer:
    await _known(services, name)
    await recorded(services, who, "admin.action", ("circuit_breaker", name), {"lifted": True})
    rows = _found(await breakers.lift(services.fleet, name))
    return _forced(name, rows, None)


def _forced(name: str, rows: list[breakers.Row], until: datetime | None) -> ForceAnswer:
    answer = {"name": name, "state": breakers.worst(rows), "until": until, "processes": len(rows)}
    return ForceAnswer.model_validate(answer)


async def _known(services: Services, name: str) -> None:
    """Before anything is recorded: a name nobody has is not there, and asking makes none."""
    rows, _ = await breakers.listed(services.fleet)
    if name not in rows:
        raise _unknown(name)


def _found(rows: list[breakers.Row]) -> list[breakers.Row]:
    if not rows:
        raise Problem("dependency-unavailable", "No process that has it answered.", retry_after_s=1, dependency="fleet")
    return rows


def _unknown(name: str) -> Problem:
    return Problem("not-found", f"No process has a circuit breaker named {name[:64]}.")
