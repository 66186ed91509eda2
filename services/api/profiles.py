"""A user as `~/me` and `~/status` show one: through the cache, forgotten on the message that the user has changed
(cache.py).
"""

from __future__ import annotations

from typing import Final

import msgspec

from services.api.cache import Cache, Fetched
from services.api.db import Database
from services.api.repository import users

NAMESPACE: Final = "users"


class Profile(msgspec.Struct, frozen=True):
    id: str
    email: str
    role: str
    tier: str


async def read(cache: Cache, db: Database, user_id: str) -> Profile | None:
    """None: there is no such user (any more). Raises DatabaseError if nobody can tell."""

    async def fetch() -> Fetched | None:
        async with db.read() as connection:
            row = await users.by_id(connection, user_id)
        return Fetched(msgspec.json.encode(Profile(row.id, row.email, row.role, row.tier))) if row is not None else None

    found = await cache.get(NAMESPACE, (user_id,), fetch)
    return None if found.entry.negative else msgspec.json.decode(found.entry.body, type=Profile)
