"""The stores asked every five seconds, so that `/health` and `~/status` answer from memory and never wait for a dead
one.

What it sees is only told (`degraded`), never acted on: readiness must not depend on a store, or one outage would take
every api out of service.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from redis.exceptions import RedisError

from services.runtime.metrics import Metrics
from services.runtime.tasks import spawn, stop

PERIOD_S: Final = 5.0
TIMEOUT_S: Final = 2.0

Probe = Callable[[], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Store:
    """`probe` gives something false, or raises, when the store cannot be used."""

    name: str
    probe: Probe


class Probes:
    def __init__(self, stores: tuple[Store, ...], metrics: Metrics) -> None:
        self._stores = stores
        self._metrics = metrics
        self._up: dict[str, bool] = {}
        self._task: asyncio.Task[None] | None = None

    @property
    def up(self) -> Mapping[str, bool]:
        """Store → did it answer last time; empty until the first round."""
        return self._up

    @property
    def degraded(self) -> bool:
        return not all(self._up.values())

    def start(self) -> None:
        self._task = spawn(self._run(), name="probes")

    async def close(self) -> None:
        await stop(self._task)

    async def look(self) -> None:
        """One round over all stores at once."""
        await asyncio.gather(*(self._look(store) for store in self._stores))

    async def _run(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(PERIOD_S)

    async def _look(self, store: Store) -> None:
        started = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(TIMEOUT_S):
                up = bool(await store.probe())
        except (RedisError, OSError, TimeoutError):
            up = False
        seconds = asyncio.get_running_loop().time() - started
        self._metrics.dependency(store.name, up=up, seconds=seconds if up else None)
        self._up[store.name] = up
