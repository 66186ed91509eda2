"""L2: the entries all api processes share, in Redis. Never raises: an unreachable store is a miss, and nobody waits
for it twice.

`up` falls at the first failure and rises with the next good poll of the generations (once a second), so an outage
costs each request nothing. Only GET, SET, UNLINK by exact key: never KEYS, SCAN or FLUSHDB.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable
from typing import Any, Final, TypeVar

import redis.asyncio as redis
from redis.exceptions import RedisError

from services.api.cache.entry import MAX_SHARED_BYTES, decode, encode
from services.core.cache import Entry

T = TypeVar("T")
TIMEOUT_S: Final = 0.25  # of one command; a local store answers within a millisecond
LOCK_MS: Final = 3000  # as long as an origin call may take before another api tries it too


class Shared:
    def __init__(self, store: redis.Redis) -> None:
        self._store = store
        self.up = True

    async def get(self, key: str) -> Entry | None:
        raw = await self._ask(self._store.get(key))
        return decode(raw) if isinstance(raw, bytes) else None

    async def put(self, key: str, entry: Entry, now: float) -> bool:
        """Kept until it may not even stand in for a failing origin; frees the key's lock in the same write."""
        body = encode(entry)
        pipeline = self._store.pipeline(transaction=False)
        kept = len(body) <= MAX_SHARED_BYTES
        if kept:
            pipeline.set(key, body, px=max(1, math.ceil((entry.stale_until - now) * 1000)))
        pipeline.unlink(f"lock:{key}")
        return await self._ask(pipeline.execute()) is not None and kept

    async def lock(self, key: str) -> bool:
        """May this process call the origin for `key`? With the store away: yes."""
        taken = await self._ask(self._store.set(f"lock:{key}", b"1", nx=True, px=LOCK_MS))
        return bool(taken) or not self.up

    async def unlock(self, key: str) -> None:
        await self._ask(self._store.unlink(f"lock:{key}"))

    async def drop(self, key: str) -> bool:
        return bool(await self._ask(self._store.unlink(key)))

    async def holds(self, key: str) -> bool:
        return bool(await self._ask(self._store.exists(key)))

    async def used_bytes(self) -> int:
        """What the store has allocated, for everybody's data; 0 when it cannot be asked."""
        stats = await self._ask(self._store.memory_stats())
        return int(stats.get("total.allocated", 0)) if isinstance(stats, dict) else 0

    async def _ask(self, command: Awaitable[Any]) -> Any:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await command
        except (RedisError, OSError, TimeoutError):
            self.up = False
            return None
