"""Resources: read through the cache, written in a transaction that empties it.

The cache holds the JSON of the thing itself; `cached` and `servedBy` belong to the answer and are added here. A
reader never waits for more than one origin call; a failing database is covered by what was read in the last hour
(cache.py). Called by routes/resources.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

import msgspec

from services.api import conditional
from services.api.access import Caller
from services.api.cache import Cache, Fetched, Found
from services.api.db import Connection, Database
from services.api.errors import Problem
from services.api.models import pagination, rfc3339
from services.api.repository import resources as table
from services.api.repository.resources import NewResource, Resource

ITEMS: Final = "resources"
LISTS: Final = "lists"
ID_DIGITS_MAX: Final = 19
ID_MAX: Final = 2**63 - 1

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Page:
    """What a list shows."""

    number: int
    limit: int
    type: str | None


def number_of(text: str) -> int | None:
    """`1`, `2`, …: anything else names nothing, and no query is made for it."""
    if not (text.isascii() and text.isdecimal()) or text[0] == "0" or len(text) > ID_DIGITS_MAX or int(text) > ID_MAX:
        return None
    return int(text)


def absent(headers: Mapping[str, str] | None = None) -> Problem:
    return Problem("not-found", "Resource not found", error="Resource not found", headers=headers)


async def read(cache: Cache, db: Database, number: int) -> Found:
    """The item; a negative entry if there is none."""

    async def fetch() -> Fetched | None:
        async with db.read() as connection:
            found = await table.get(connection, number)
        return Fetched(body(found), etag_of(found)) if found is not None else None

    return await cache.get(ITEMS, (str(number),), fetch)


async def read_page(cache: Cache, db: Database, page: Page) -> Found:
    """A list, its `resources` and `pagination` as the members of an object without its braces."""

    async def fetch() -> Fetched:
        async with db.read() as connection:
            found, total = await table.page(connection, page.type, page.limit, (page.number - 1) * page.limit)
        members = _encode(
            {
                "resources": [msgspec.Raw(body(r)) for r in found],
                "pagination": pagination(page.number, page.limit, total).model_dump(by_alias=True),
            }
        )[1:-1]
        return Fetched(members, conditional.tag(blake2b(members, digest_size=12).hexdigest()))

    return await cache.get(LISTS, (page.type or "", str(page.number), str(page.limit)), fetch)


async def create(connection: Connection, new: NewResource, who: Caller) -> Resource:
    return await table.create(connection, new, who.user_id)


async def change(connection: Connection, number: int, new: NewResource, who: Caller, if_match: str | None) -> Resource:
    await _may(connection, number, who, if_match)
    return await table.change(connection, number, new, who.user_id)


async def delete(connection: Connection, number: int, who: Caller, if_match: str | None) -> None:
    await _may(connection, number, who, if_match)
    await table.delete(connection, number)


async def changed(cache: Cache) -> None:
    """After COMMIT: the item, every list, and what was known to be absent are old."""
    await cache.changed(ITEMS, LISTS)


def body(resource: Resource) -> bytes:
    """The thing's JSON; in lists without `content`."""
    members: dict[str, Any] = {"id": str(resource.id), "name": resource.name, "type": resource.type}
    if resource.content is not None:
        members["content"] = resource.content
    return _encode(
        members
        | {
            "metadata": msgspec.Raw(resource.metadata.encode()),
            "createdBy": resource.created_by,
            "updatedBy": resource.updated_by,
            "createdAt": rfc3339(resource.created_at),
            "updatedAt": rfc3339(resource.updated_at),
        },
    )


def etag_of(resource: Resource) -> str:
    return conditional.tag(f"{resource.id}-{resource.version}")


async def _may(connection: Connection, number: int, who: Caller, if_match: str | None) -> None:
    """Locks the row; raises unless it is there, this caller may change it, and it is what the caller has read."""
    held = await table.lock(connection, number)
    if held is None:
        raise absent()
    if held.created_by != who.user_id and "admin:write" not in who.scopes:
        raise Problem("forbidden", "Only its creator or an admin may change a resource.", error="Forbidden")
    etag = conditional.tag(f"{number}-{held.version}")
    if not conditional.match(if_match, etag):
        raise Problem("precondition-failed", headers={"ETag": etag}, currentETag=etag)
