"""What the gateway reads from Postgres, against a real one."""

from __future__ import annotations

import asyncio
import os

import asyncpg

from services.core.credentials import key_hash, make_key, parse_key
from services.runtime.gateway_store import CONNECTIONS, GatewayStore, StoreAwayError
from tests.harness.stores import Database
from tests.integration.api_process import USER

KEYS = 300
PEPPER = bytes(32)


async def written(database: Database) -> dict[str, bytes]:
    """Many keys: id → hash."""
    keys = [make_key("test", os.urandom(10), os.urandom(32)).encode() for _ in range(KEYS)]
    hashes = {parsed.id: key_hash(PEPPER, key) for key in keys if (parsed := parse_key(key)) is not None}
    connection = await asyncpg.connect(database.admin)
    try:
        rows = [(name, USER, digest, 1, "many", "pro", ["read"], "test") for name, digest in hashes.items()]
        columns = ("id", "user_id", "key_hash", "pepper_id", "name", "tier", "scopes", "env")
        await connection.copy_records_to_table("api_keys", records=rows, columns=columns)
    finally:
        await connection.close()
    return hashes


async def test_many_keys_at_once_share_a_few_queries(database: Database) -> None:
    """300 callers that nobody knows yet: each gets its own key's row, an unknown id nothing, for a handful of queries."""
    hashes = await written(database)
    asked: list[bool] = []
    store = GatewayStore(database.gateway, lambda up, _seconds: asked.append(up))
    try:
        found = await asyncio.gather(*(store.key(name) for name in hashes), store.key("nobody-has-it"))
        assert found.pop() is None
        assert {row.id: row.key_hash for row in found if row} == hashes
        assert asked
        assert len(asked) <= 2 * CONNECTIONS
        assert all(asked)
        assert (await store.key(next(iter(hashes)))) is not None
    finally:
        await store.close()


async def test_all_who_wait_hear_that_it_is_away(database: Database) -> None:
    """No password that fits: every caller is told, none waits for ever."""
    store = GatewayStore(database.gateway.replace("scalable_gateway", "nobody_of_this_name"))
    try:
        found = await asyncio.gather(*(store.key(f"key-{n}") for n in range(50)), return_exceptions=True)
        assert {type(one) for one in found} == {StoreAwayError}
    finally:
        await store.close()
