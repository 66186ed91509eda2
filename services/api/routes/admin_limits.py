"""`~/admin/rate-limits/{identifier}` and `~/admin/rate-limit-overrides` (contract.md 1.6)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Depends, Request, Response
from pydantic import Field

from services.api import limits, overrides
from services.api.access import ADMIN, VIEWER, AccessRouter, Caller, caller
from services.api.deeds import recorded
from services.api.errors import Detail, Problem, invalid
from services.api.idempotency import Reply
from services.api.identifiers import IDENTIFIER_OR_RANGE
from services.api.models import AnswerModel, ApiModel, Pagination, PlainText, Time, TimeIn, dump, pagination
from services.api.numbers import Integer
from services.api.paging import Paging
from services.api.repository import overrides as table
from services.api.repository.overrides import NewOverride
from services.api.repository.overrides import Override as Row
from services.api.services import Deps, Services

router = AccessRouter(tags=("Admin: limits",))
Who = Annotated[Caller, Depends(caller)]
Mode = Literal["enforce", "shadow"]


class LimitRow(AnswerModel):
    """`estimate` units used of `quota` in `window` seconds; `retryAfter` seconds until one more passes, null: never."""

    name: str
    quota: int
    window: int
    algorithm: Literal["sliding", "gcra", "calendar", "log", "concurrency"]
    mode: Mode
    estimate: int
    remaining: int
    retry_after: int | None


class Override(AnswerModel):
    id: str
    identifier: str
    requests_per_minute: int
    burst_limit: int | None
    mode: Mode
    reason: str
    created_by: str
    created_at: Time
    updated_at: Time
    expires_at: Time | None


class LimitState(AnswerModel):
    """`currentCount`, `limit`, `remaining`, `windowMs` are the first policy's."""

    identifier: str
    tier: str
    tier_source: Literal["key", "user", "anonymous", "default"]
    override: Override | None
    current_count: int | None
    limit: int | None
    remaining: int | None
    window_ms: int | None
    policies: list[LimitRow]


class OverrideBody(ApiModel):
    """`requestsPerMinute` 0 blocks; without `burstLimit` the tier's burst goes on; without `expiresAt` it holds for
    good.
    """

    identifier: Annotated[str, Field(min_length=4, max_length=200, pattern=IDENTIFIER_OR_RANGE)]
    requests_per_minute: Annotated[int, Field(ge=0, le=10_000_000), Integer]
    burst_limit: Annotated[int, Field(ge=1, le=10_000_000), Integer] | None = None
    mode: Mode = "enforce"
    reason: Annotated[PlainText, Field(min_length=1, max_length=500)]
    expires_at: TimeIn | None = None

    def row(self) -> NewOverride:
        if self.expires_at is not None and self.expires_at <= datetime.now(UTC):
            raise invalid(Detail("/expiresAt", "must be in the future", "range"))
        name = overrides.canonical(self.identifier)
        return NewOverride(name, self.requests_per_minute, self.burst_limit, self.mode, self.reason, self.expires_at)


class OverrideAnswer(AnswerModel):
    override: Override


class OverrideList(AnswerModel):
    overrides: list[Override]
    pagination: Pagination


@router.get(
    "/api/v1/admin/rate-limits/{identifier}",
    access=VIEWER,
    response_model=LimitState,
    summary="What limits an identifier, and how much is used",
)
async def get_limits(services: Deps, identifier: str) -> LimitState:
    name = _name(identifier)
    document = await services.fleet.tiers.current()
    async with services.db.read() as connection:
        subject = await limits.subject_of(connection, name, document)
        if subject is None:
            raise Problem("not-found", "There is no such key or user.")
        override = await limits.override_of(connection, subject)
    tier, source, policies = limits.applied(document, subject, override)
    verdict = await limits.peek(services.redis, name, policies)
    if verdict is None:
        raise Problem(
            "dependency-unavailable", "The limiter's store gave no answer.", retry_after_s=1, dependency="redis"
        )
    rows = [LimitRow.model_validate(row) for row in limits.rows(policies, verdict)]
    first = rows[0] if rows else None  # None: every policy is off
    return LimitState(
        identifier=name,
        tier=tier,
        tier_source=source,
        override=_shown(override) if override else None,
        current_count=first.estimate if first else None,
        limit=first.quota if first else None,
        remaining=first.remaining if first else None,
        window_ms=first.window * 1000 if first else None,
        policies=rows,
    )


@router.delete(
    "/api/v1/admin/rate-limits/{identifier}",
    access=ADMIN,
    status_code=204,
    summary="Forget what an identifier has used",
)
async def forget_limits(services: Deps, who: Who, identifier: str) -> Response:
    name = _name(identifier)
    await recorded(services, who, "admin.action", ("rate_limit", name), {"forgotten": True})
    await limits.forget(services.redis, name, await services.fleet.tiers.current())
    await services.notices.say(f"override:{name}")  # gateways empty their deny caches on it
    return Response(status_code=204)


@router.get(
    "/api/v1/admin/rate-limit-overrides",
    access=VIEWER,
    response_model=OverrideList,
    summary="List overrides, newest first",
)
async def list_overrides(services: Deps, paging: Paging) -> OverrideList:
    page, limit = paging
    async with services.db.read() as connection:
        rows, total = await table.page(connection, limit, (page - 1) * limit)
    return OverrideList(overrides=[_shown(row) for row in rows], pagination=pagination(page, limit, total))


@router.post(
    "/api/v1/admin/rate-limit-overrides",
    access=ADMIN,
    status_code=201,
    response_model=OverrideAnswer,
    summary="Give an identifier its own limit",
)
async def create_override(services: Deps, who: Who, request: Request, body: OverrideBody) -> Response:
    new = body.row()

    async def effect(connection: Any) -> Reply:
        made = await overrides.create(connection, services.audit, new, who)
        location = f"/api/v1/admin/rate-limit-overrides/{made.id}"
        return Reply(201, dump(OverrideAnswer(override=_shown(made))), {"Location": location})

    answer = await services.idempotency.perform(request, who, effect)
    await services.notices.say(f"override:{new.identifier}")
    return answer


@router.get(
    "/api/v1/admin/rate-limit-overrides/{id}",
    access=VIEWER,
    response_model=OverrideAnswer,
    summary="Read an override",
)
async def get_override(services: Deps, id: str) -> OverrideAnswer:  # noqa: A002  # the path's name for it
    async with services.db.read() as connection:
        row = await table.get(connection, _id(id))
    if row is None:
        raise overrides.absent()
    return OverrideAnswer(override=_shown(row))


@router.put(
    "/api/v1/admin/rate-limit-overrides/{id}",
    access=ADMIN,
    response_model=OverrideAnswer,
    summary="Replace an override",
    responses={409: {"description": "Another override has the identifier"}},
)
async def put_override(
    services: Deps,
    who: Who,
    id: str,  # noqa: A002  # the path's name for it
    body: OverrideBody,
) -> OverrideAnswer:
    new = body.row()
    async with services.db.transaction() as connection:
        before, after = await overrides.change(connection, services.audit, _id(id), new, who)
    await _tell(services, before, after)
    return OverrideAnswer(override=_shown(after))


@router.delete(
    "/api/v1/admin/rate-limit-overrides/{id}",
    access=ADMIN,
    status_code=204,
    summary="Give an identifier its tier's limit back",
)
async def delete_override(services: Deps, who: Who, id: str) -> Response:  # noqa: A002  # the path's name for it
    async with services.db.transaction() as connection:
        before = await overrides.delete(connection, services.audit, _id(id), who)
    await _tell(services, before)
    return Response(status_code=204)


async def _tell(services: Services, *rows: Row) -> None:
    await services.notices.say(*{f"override:{row.identifier}" for row in rows})


def _shown(row: Row) -> Override:
    return Override.model_validate({field: getattr(row, field) for field in Override.model_fields})


def _name(identifier: str) -> str:
    name = limits.canonical(identifier)
    if name is None:
        raise Problem("not-found", "An identifier is key:<id>, user:<uuid> or ip:<address>.")
    return name


def _id(text: str) -> str:
    """Anything but a uuid names nothing, and no query is made for it."""
    try:
        return str(UUID(text))
    except ValueError:
        raise overrides.absent() from None
