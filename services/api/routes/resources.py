"""`~/resources` (contract.md 1.3): reading is open and cached, writing is the creator's or an admin's."""

from __future__ import annotations

import json
from typing import Annotated, Any, ClassVar, Final

from fastapi import Depends, Header, Query, Request, Response
from pydantic import AfterValidator, Field, StringConstraints

from services.api import conditional, resources
from services.api.access import ANY, AccessRouter, Caller, caller, scope
from services.api.cache import Found
from services.api.errors import Problem
from services.api.idempotency import Reply
from services.api.models import AnswerModel, ApiModel, Pagination, PlainText, Time
from services.api.paging import Paging
from services.api.repository.resources import NewResource
from services.api.repository.resources import Resource as Row
from services.api.services import Deps

NAME_MAX: Final = 255
CONTENT_MAX_BYTES: Final = 262_144
METADATA_MAX_BYTES: Final = 16_384
NO_NUL: Final = "^[^\\u0000]*$"  # Postgres text cannot hold it; strict.py refuses it
TYPE_PATTERN: Final = r"^[a-z][a-z0-9-]*$"
CONDITIONAL: Final = {"Cache-Control": "no-cache"}

router = AccessRouter(tags=("Resources",))


def _content(text: str) -> str:
    if len(text.encode()) > CONTENT_MAX_BYTES:
        raise ValueError(f"may have {CONTENT_MAX_BYTES} bytes")
    return text


def _metadata(members: dict[str, Any]) -> dict[str, Any]:
    if len(json.dumps(members, ensure_ascii=False, separators=(",", ":")).encode()) > METADATA_MAX_BYTES:
        raise ValueError(f"may have {METADATA_MAX_BYTES} bytes as JSON")
    return members


Type = Annotated[str, StringConstraints(pattern=TYPE_PATTERN, min_length=1, max_length=50)]
Name = Annotated[PlainText, Field(min_length=1, max_length=NAME_MAX)]


class ResourceIn(ApiModel):
    """A resource as a writer gives it: the full body, also to change one."""

    name: Name
    type: Type
    content: Annotated[
        str, AfterValidator(_content), Field(max_length=CONTENT_MAX_BYTES, json_schema_extra={"pattern": NO_NUL})
    ] = ""
    metadata: Annotated[dict[str, Any], AfterValidator(_metadata), Field(default_factory=dict)]
    sentence: ClassVar[str] = "Name and type are required"

    def row(self) -> NewResource:
        return NewResource(self.name, self.type, self.content, json.dumps(self.metadata, ensure_ascii=False))


class ListedResource(AnswerModel):
    """A resource in a list: without its content."""

    id: str
    name: str
    type: str
    metadata: dict[str, Any]
    created_by: str | None
    updated_by: str | None
    created_at: Time
    updated_at: Time


class Resource(ListedResource):
    content: str


class ResourceAnswer(AnswerModel):
    resource: Resource
    cached: bool
    served_by: str
    stale: Annotated[bool, Field(alias="_stale")] = True


class ResourceList(AnswerModel):
    resources: list[ListedResource]
    pagination: Pagination
    cached: bool
    served_by: str
    stale: Annotated[bool, Field(alias="_stale")] = True


class Written(AnswerModel):
    resource: Resource
    served_by: str


IfNoneMatch = Annotated[str | None, Header(description="an ETag read before: 304 if it still holds")]
IfMatch = Annotated[str | None, Header(description="the ETag that was read: 412 if it no longer holds")]
Who = Annotated[Caller, Depends(caller)]


@router.get("/api/v1/resources", access=ANY, response_model=ResourceList, summary="List resources, newest first")
async def list_resources(
    services: Deps,
    paging: Paging,
    kind: Annotated[Type | None, Query(alias="type")] = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    page = resources.Page(*paging, kind)
    found = await resources.read_page(services.cache, services.db, page)
    return _cached(found, found.entry.body, services.settings.instance_id, if_none_match)


@router.get("/api/v1/resources/{id}", access=ANY, response_model=ResourceAnswer, summary="Read a resource")
async def get_resource(
    services: Deps,
    id: str,  # noqa: A002  # the path's name for it
    if_none_match: IfNoneMatch = None,
) -> Response:
    if services.settings.demo_mode and id == "error":
        raise Problem("internal-error", "This id always fails, in demo mode.")
    found = await resources.read(services.cache, services.db, _number(id))
    if found.entry.negative:
        raise resources.absent(found.headers())
    return _cached(found, b'"resource":' + found.entry.body, services.settings.instance_id, if_none_match)


@router.post(
    "/api/v1/resources",
    access=scope("write"),
    status_code=201,
    response_model=Written,
    summary="Create a resource",
)
async def create_resource(services: Deps, who: Who, request: Request, body: ResourceIn) -> Response:
    async def effect(connection: Any) -> Reply:
        row = await resources.create(connection, body.row(), who)
        headers = {"Location": f"/api/v1/resources/{row.id}", "ETag": resources.etag_of(row)}
        return Reply(201, _written(row, services.settings.instance_id), headers)

    answer = await services.idempotency.perform(request, who, effect)
    await resources.changed(services.cache)
    return answer


@router.put("/api/v1/resources/{id}", access=scope("write"), response_model=Written, summary="Replace a resource")
async def put_resource(
    services: Deps,
    who: Who,
    id: str,  # noqa: A002  # the path's name for it
    body: ResourceIn,
    if_match: IfMatch = None,
) -> Response:
    number = _number(id)
    async with services.db.transaction() as connection:
        row = await resources.change(connection, number, body.row(), who, if_match)
    await resources.changed(services.cache)
    return Reply(200, _written(row, services.settings.instance_id), {"ETag": resources.etag_of(row)}).response()


@router.delete("/api/v1/resources/{id}", access=scope("write"), status_code=204, summary="Delete a resource")
async def delete_resource(
    services: Deps,
    who: Who,
    id: str,  # noqa: A002  # the path's name for it
    if_match: IfMatch = None,
) -> Response:
    number = _number(id)
    async with services.db.transaction() as connection:
        await resources.delete(connection, number, who, if_match)
    await resources.changed(services.cache)
    return Response(status_code=204)


def _number(text: str) -> int:
    number = resources.number_of(text)
    if number is None:
        raise resources.absent()
    return number


def _written(row: Row, instance: str) -> dict[str, Any]:
    return {"resource": json.loads(resources.body(row)), "servedBy": instance}


def _cached(found: Found, members: bytes, instance: str, if_none_match: str | None) -> Response:
    """The entry's members with what belongs to this answer; 304 without a body if the client has it."""
    headers = {**CONDITIONAL, **found.headers(), "ETag": found.entry.etag}
    if conditional.none_match(if_none_match, found.entry.etag):
        return Response(status_code=304, headers=headers)
    tail = {"cached": found.cached, "servedBy": instance} | ({"_stale": True} if found.stale else {})
    body = b"{" + members + b"," + json.dumps(tail, separators=(",", ":")).encode()[1:]
    return Response(body, headers=headers, media_type="application/json")
