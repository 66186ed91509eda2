"""`~/admin/cache` (contract.md 1.6): what the caches of all apis did, and emptying them by a generation step."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import Depends
from pydantic import Field

from services.api.access import ADMIN, VIEWER, AccessRouter, Caller, caller
from services.api.deeds import recorded
from services.api.errors import Problem
from services.api.fleet import cache
from services.api.models import AnswerModel, ApiModel, Message, Time
from services.api.services import Deps

router = AccessRouter(tags=("Admin: cache",))
Who = Annotated[Caller, Depends(caller)]


class NamespaceRow(AnswerModel):
    """`ttl` in seconds."""

    name: str
    generation: int
    entries: int
    hits: int
    misses: int
    ttl: float


class SharedState(AnswerModel):
    """`usedBytes`: what the store has allocated, for everybody's data."""

    state: Literal["up", "down"]
    used_bytes: int


class CacheAnswer(AnswerModel):
    """Sums over the apis since their starts."""

    as_of: Time
    partial: bool
    local_hits: int
    redis_hits: int
    misses: int
    hit_rate: float
    local_cache_size: int
    local_bytes: int
    stale: int
    collapsed: int
    namespaces: list[NamespaceRow]
    l2: SharedState


class PurgeBody(ApiModel):
    """`key`: a resource's or user's id, a list's `type,page,limit`; none: the whole namespace. `dryRun` only counts."""

    namespace: Annotated[str, Field(min_length=1, max_length=64)]
    key: Annotated[str, Field(max_length=255)] | None = None
    dry_run: bool = False


class PurgeAnswer(AnswerModel):
    """`matched`: entries in the apis' memories; with a key 1 if it was cached anywhere."""

    namespace: str
    matched: int
    generation: int
    dry_run: bool


@router.get("/api/v1/admin/cache", access=VIEWER, response_model=CacheAnswer, summary="What the caches did")
async def get_cache(services: Deps) -> CacheAnswer:
    found, partial = await cache.described(services.fleet)
    return CacheAnswer.model_validate({**found, "asOf": datetime.now(UTC), "partial": partial})


@router.post("/api/v1/admin/cache/clear", access=ADMIN, response_model=Message, summary="Empty the cache everywhere")
async def clear_cache(services: Deps, who: Who) -> Message:
    await recorded(services, who, "cache.cleared", ("cache", "*"))
    await services.cache.clear()
    return Message(message="Cache cleared")


@router.post(
    "/api/v1/admin/cache/purge",
    access=ADMIN,
    response_model=PurgeAnswer,
    summary="Drop a namespace, or one entry",
    responses={404: {"description": "There is no such namespace"}},
)
async def purge_cache(services: Deps, who: Who, body: PurgeBody) -> PurgeAnswer:
    if body.namespace not in services.cache.namespaces:
        raise Problem("not-found", f"There is no namespace {body.namespace[:64]}.")
    parameters = parameters_of(body.namespace, body.key)
    if not body.dry_run:
        await recorded(services, who, "cache.cleared", ("cache", body.namespace), {"key": body.key})
    matched = await cache.matched(services.fleet, body.namespace, parameters)
    own = await services.cache.purge(body.namespace, parameters, dry_run=body.dry_run)
    return PurgeAnswer(
        namespace=body.namespace,
        matched=max(matched, own),
        generation=services.cache.generations.number(body.namespace),
        dry_run=body.dry_run,
    )


def parameters_of(namespace: str, key: str | None) -> tuple[str, ...] | None:
    """The canonical parameters of the entry that `key` names: exact text, nothing in it is a pattern."""
    if key is None:
        return None
    if namespace == "lists":
        return tuple(key.split(","))
    return () if namespace == "external" and not key else (key,)
