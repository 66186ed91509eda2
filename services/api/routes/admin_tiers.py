"""`~/admin/tiers` (contract.md 1.6): the document in force and who enforces it. Only the controller writes it."""

from __future__ import annotations

from hashlib import blake2b
from typing import Annotated, Any

from fastapi import Header, Response

from services.api import conditional
from services.api.access import VIEWER, AccessRouter
from services.api.fleet.tiers import Acks, plain
from services.api.models import AnswerModel, Time
from services.api.services import Deps

router = AccessRouter(tags=("Admin: limits",))


class AckRow(AnswerModel):
    component: str
    instance: str
    hash: str
    at: Time


class TiersAnswer(AnswerModel):
    """`stale`: gateways and balancers that enforce another document or did not answer."""

    revision: int
    hash: str
    document: dict[str, Any]
    acks: list[AckRow]
    stale: list[str]


@router.get("/api/v1/admin/tiers", access=VIEWER, response_model=TiersAnswer, summary="The tiers document in force")
async def get_tiers(services: Deps, if_none_match: Annotated[str | None, Header()] = None) -> Response:
    document = await services.fleet.tiers.current()
    found = await services.fleet.tiers.acks(document)
    etag = conditional.tag(_state(document.hash, found))
    headers = {"Cache-Control": "no-cache", "ETag": etag}
    if conditional.none_match(if_none_match, etag):
        return Response(status_code=304, headers=headers)
    answer = TiersAnswer(
        revision=document.revision,
        hash=document.hash,
        document=plain(document),
        acks=[AckRow(component=a.component, instance=a.instance, hash=a.hash, at=a.at) for a in found.acks],
        stale=list(found.stale),
    )
    return Response(answer.model_dump_json(by_alias=True), headers=headers, media_type="application/json")


def _state(document_hash: str, found: Acks) -> str:
    """What the entity tag stands for: the document and who enforces which one; not when each was last asked."""
    listed = [document_hash, *(f"{a.instance}={a.hash}" for a in found.acks), *found.stale]
    return blake2b("\n".join(listed).encode(), digest_size=12).hexdigest()
