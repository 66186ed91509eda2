"""contract.md 1.5: API keys, the owner's own and, under `~/admin`, everybody's. Rules: keyring.py.

Without `usageToday` and `~/keys/{id}/usage`: they need the usage table, which the request log brings.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal

from fastapi import Body, Query, Request, Response
from pydantic import Field

from services.api import keyring
from services.api.access import ADMIN, VIEWER, Access, AccessRouter, Caller, Who, scope
from services.api.db import Connection
from services.api.errors import Detail, invalid
from services.api.idempotency import Reply
from services.api.keyring import ApiKey, Changes, Keyring, Wanted
from services.api.models import (
    AnswerModel,
    ApiModel,
    Pagination,
    PlainText,
    Time,
    TimeIn,
    dump,
    pagination,
)
from services.api.numbers import Integer
from services.api.paging import Paging
from services.api.repository import keys as repository
from services.api.repository.keys import KeyFilter
from services.api.services import Deps, Services

KEYS: Final = scope("keys")
YEAR: Final = timedelta(days=365)
ID: Final = re.compile(r"[0-9a-hjkmnp-tv-z]{10}")
UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

router = AccessRouter("/api/v1/keys", ("keys",))
admin_router = AccessRouter("/api/v1/admin/keys", ("admin keys",))

Scope = Literal["read", "write", "keys", "admin:read", "admin:write", "*", "admin"]
Name = Annotated[PlainText, Field(min_length=1, max_length=100)]
Scopes = Annotated[list[Scope], Field(min_length=1, max_length=7)]
TierName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
Days = Annotated[int, Field(ge=1, le=365), Integer]
UserId = Annotated[str, Field(pattern=f"^{UUID.pattern}$")]
Status = Literal["active", "expiring", "expired", "revoked"]
Reason = Annotated[PlainText | None, Query(max_length=500)]


class CreateKey(ApiModel):
    """`tier` defaults to the owner's; `expiresInDays` null: never."""

    name: Name
    scopes: Scopes
    tier: TierName | None = None
    expires_in_days: Days | None = 90


class CreateKeyFor(CreateKey):
    """An admin's: for whom, and any tier."""

    user_id: UserId


class ChangeKey(ApiModel):
    """What is absent stays; `expiresAt` null: never."""

    name: Name | None = None
    scopes: Scopes | None = None
    expires_at: TimeIn | None = None


class RotateKey(ApiModel):
    grace_seconds: Annotated[int, Field(ge=0, le=604_800), Integer] = 86_400


class KeyPage(AnswerModel):
    keys: list[ApiKey]
    pagination: Pagination


class KeyAnswer(AnswerModel):
    api_key: ApiKey


class KeyMade(AnswerModel):
    """`key` this once; left out of a repeat."""

    key: str | None = None
    api_key: ApiKey


class Replaced(AnswerModel):
    id: str
    expires_at: Time


class KeyRotated(KeyMade):
    replaces: Replaced


def _declare(routes: AccessRouter, read: Access, write: Access, *, admin: bool) -> None:
    """The same routes twice: the caller's own keys, or anybody's for an admin."""
    word = "admin_" if admin else ""

    @routes.get("/{id}", access=read, response_model=KeyAnswer, name=f"{word}get_key")
    async def get_key(id: str, who: Who, services: Deps) -> KeyAnswer:  # noqa: A002  # the path's own name
        keys = await _keyring(services, who, id, admin=admin)
        async with services.db.read() as connection:
            return KeyAnswer(api_key=await keys.shown(connection, id))

    @routes.patch("/{id}", access=write, response_model=KeyAnswer, name=f"{word}change_key")
    async def change_key(id: str, body: ChangeKey, who: Who, services: Deps) -> KeyAnswer:  # noqa: A002
        wanted = Changes(body.name, None if body.scopes is None else tuple(body.scopes), _expires(body))
        keys = await _keyring(services, who, id, admin=admin)
        async with services.db.transaction() as connection:
            key = await keys.change(connection, id, wanted)
        await services.notices.say(f"key:{id}")
        return KeyAnswer(api_key=key)

    @routes.delete("/{id}", access=write, status_code=204, name=f"{word}revoke_key")
    async def revoke_key(id: str, who: Who, services: Deps, reason: Reason = None) -> Response:  # noqa: A002
        keys = await _keyring(services, who, id, admin=admin)
        async with services.db.transaction() as connection:
            await keys.revoke(connection, id, reason)
        await services.notices.say(f"key:{id}")
        return Response(status_code=204)

    @routes.post("/{id}/rotate", access=write, status_code=201, response_model=KeyRotated, name=f"{word}rotate_key")
    async def rotate_key(
        id: str,  # noqa: A002
        request: Request,
        who: Who,
        services: Deps,
        body: Annotated[RotateKey, Body(default_factory=RotateKey)],
    ) -> Response:
        keys = await _keyring(services, who, id, admin=admin)

        async def effect(connection: Connection) -> Reply:
            key, api_key, end = await keys.rotate(connection, id, timedelta(seconds=body.grace_seconds))
            made = KeyRotated(key=key, api_key=api_key, replaces=Replaced(id=id, expires_at=end))
            return Reply(201, dump(made), secrets=("key",))

        response = await services.idempotency.perform(request, who, effect)
        await services.notices.say(f"key:{id}")
        return response


@router.get("", access=KEYS, response_model=KeyPage)
async def list_keys(
    who: Who,
    services: Deps,
    *,
    paging: Paging,
    status: Status | None = None,
    tier: TierName | None = None,
    q: Annotated[PlainText | None, Query(max_length=100)] = None,
) -> KeyPage:
    return await _page(services, KeyFilter(who.user_id, status, tier, q), paging)


@admin_router.get("", access=VIEWER, response_model=KeyPage)
async def admin_list_keys(
    services: Deps,
    *,
    paging: Paging,
    status: Status | None = None,
    tier: TierName | None = None,
    q: Annotated[PlainText | None, Query(max_length=100)] = None,
    user_id: Annotated[UserId | None, Query(alias="userId")] = None,
) -> KeyPage:
    return await _page(services, KeyFilter(user_id, status, tier, q), paging)


@router.post("", access=KEYS, status_code=201, response_model=KeyMade)
async def create_key(body: CreateKey, request: Request, who: Who, services: Deps) -> Response:
    keys = Keyring(services, who, who.user_id, await services.fleet.tiers.current())
    return await _create(keys, request, who.user_id, body)


@admin_router.post("", access=ADMIN, status_code=201, response_model=KeyMade)
async def admin_create_key(body: CreateKeyFor, request: Request, who: Who, services: Deps) -> Response:
    keys = Keyring(services, who, None, await services.fleet.tiers.current())
    return await _create(keys, request, body.user_id, body)


_declare(router, KEYS, KEYS, admin=False)
_declare(admin_router, VIEWER, ADMIN, admin=True)


async def _keyring(services: Services, who: Caller, key_id: str, *, admin: bool) -> Keyring:
    """404 without a query for what no key is called."""
    if ID.fullmatch(key_id) is None:
        raise keyring.absent()
    return Keyring(services, who, None if admin else who.user_id, await services.fleet.tiers.current())


async def _create(keys: Keyring, request: Request, user_id: str, body: CreateKey) -> Response:
    life = None if body.expires_in_days is None else timedelta(days=body.expires_in_days)
    wanted = Wanted(body.name, tuple(body.scopes), body.tier, life)

    async def effect(connection: Connection) -> Reply:
        key, api_key = await keys.create(connection, user_id, wanted)
        return Reply(
            201, dump(KeyMade(key=key, api_key=api_key)), {"Location": f"{request.url.path}/{api_key.id}"}, ("key",)
        )

    return await keys.services.idempotency.perform(request, keys.who, effect)


async def _page(services: Services, wanted: KeyFilter, paging: tuple[int, int]) -> KeyPage:
    page, limit = paging
    document = await services.fleet.tiers.current()
    async with services.db.read() as connection:
        rows, total = await repository.page(connection, wanted, limit, (page - 1) * limit)
    return KeyPage(keys=[keyring.view(row, document) for row in rows], pagination=pagination(page, limit, total))


def _expires(body: ChangeKey) -> tuple[datetime | None] | None:
    if "expires_at" not in body.model_fields_set:
        return None
    now = datetime.now(UTC)
    if body.expires_at is not None and not now < body.expires_at <= now + YEAR:
        raise invalid(Detail("/expiresAt", "must be in the future, 365 days at most", "range"))
    return (body.expires_at,)
