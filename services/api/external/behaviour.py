"""How the simulated dependency behaves: one record in Redis for the whole fleet, changed by `PUT ~/admin/external`.

A demo turns it bad and watches the breaker open on every api at once. While Redis is away the last record read stays.
"""

from __future__ import annotations

from typing import Final

import msgspec
import redis.asyncio as redis
from redis.exceptions import RedisError

KEY: Final = "api:external"


class Behaviour(msgspec.Struct, frozen=True, rename="camel"):
    """Share of failing calls, upper bound of their uniform latency, or no answer at all."""

    failure_rate: float = 0.1
    latency_ms: float = 200
    hang: bool = False


class BehaviourStore:
    def __init__(self, store: redis.Redis) -> None:
        self._store = store
        self._last = Behaviour()

    async def read(self) -> Behaviour:
        try:
            raw = await self._store.get(KEY)
        except (RedisError, OSError):
            return self._last
        self._last = msgspec.json.decode(raw, type=Behaviour) if raw else Behaviour()
        return self._last

    async def write(self, behaviour: Behaviour) -> None:
        """Raises RedisError when it could not be told to all."""
        await self._store.set(KEY, msgspec.json.encode(behaviour))
        self._last = behaviour
