"""The api's part of the control port: its cache and its breakers (contract.md 1.11), and its part of the snapshot."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, HTTPException
from pydantic import Field

from services.api.cache import Cache
from services.api.external import External
from services.core.breaker import FORCE_MAX_S
from services.runtime.control import ControlModel
from services.schema.snapshot import CacheState

UNKNOWN: Final = HTTPException(404, "this process has no breaker of that name")


class Purge(ControlModel):
    """`parameters` are a cached thing's canonical ones; None: the whole namespace."""

    namespace: str
    parameters: list[str] | None = None
    dry_run: bool = False


class Force(ControlModel):
    state: Annotated[str, Field(pattern="^(open|closed)$")]
    ttl_seconds: Annotated[float, Field(ge=1, le=FORCE_MAX_S)]
    reason: Annotated[str, Field(max_length=500)] = ""


def control_router(cache: Cache, external: External) -> APIRouter:
    """Appended to the runtime's routers before the start."""
    router = APIRouter(prefix="/control/v1")
    breakers = external.breakers

    @router.get("/cache")
    async def describe_cache() -> dict[str, Any]:
        return await cache.describe()

    @router.post("/cache/purge")
    async def purge(body: Purge) -> dict[str, Any]:
        if body.namespace not in cache.namespaces:
            raise HTTPException(404, "there is no such namespace")
        parameters = None if body.parameters is None else tuple(body.parameters)
        matched = await cache.purge(body.namespace, parameters, dry_run=body.dry_run)
        return {"matched": matched, "generation": cache.generations.number(body.namespace)}

    @router.get("/breakers")
    async def list_breakers() -> dict[str, Any]:
        return breakers.all()

    @router.post("/breakers/{name}/reset")
    async def reset(name: str) -> dict[str, Any]:
        return _known(breakers.reset(name))

    @router.post("/breakers/{name}/force")
    async def force(name: str, body: Force) -> dict[str, Any]:
        return _known(breakers.force(name, body.state, body.ttl_seconds, body.reason))

    @router.delete("/breakers/{name}/force")
    async def lift(name: str) -> dict[str, Any]:
        return _known(breakers.lift(name))

    return router


def snapshot_parts(cache: Cache, external: External) -> dict[str, Any]:
    """`cache` and `breakers` of the api's snapshot."""
    stats, (entries, size) = cache.stats, cache.size()
    state = CacheState(
        l1_hits=stats.total("l1_hit", "negative"),
        l2_hits=stats.total("l2_hit"),
        misses=stats.total("miss", "collapsed"),
        entries=entries,
        bytes=size,
    )
    return {"cache": state, "breakers": external.breakers.snapshot()}


def _known(row: dict[str, Any] | None) -> dict[str, Any]:
    if row is None:
        raise UNKNOWN
    return row
