"""Which generation of each namespace is current: one number in Redis, heard by every api, read anew each second.

A write to what is cached steps the number (INCR) and tells it (PUBLISH `inv:cache`, `<namespace> <generation>`);
since the number is part of every key, entries of older generations are out of reach at once, in both levels, without
being looked for. An api that misses the message reads the number within a second; one that lost the subscription
reads it before its next use. Numbers only rise: a store that came back with less (emptied, or a failover that lost a
write) is pushed above what we knew, so that nobody reads what was already dropped.

A step that Redis did not take is owed: the local number rises, L2 is not used for that namespace, and each poll tries
again. Until then other processes may serve the old entry, at most for its lifetime.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

import redis.asyncio as redis
from redis.exceptions import RedisError

from services.runtime.log import get_log

CHANNEL: Final = "inv:cache"
POLL_S: Final = 0.9  # with its own duration stays within the promised second
TIMEOUT_S: Final = 0.25
TRIES: Final = 3

log = get_log(__name__)


class Generations:
    """`on_step(namespace)` when a number moved; `on_drop(namespace, digest)` when one entry is to go; `on_store(up)`
    after each poll.
    """

    def __init__(
        self,
        store: redis.Redis,
        namespaces: Iterable[str],
        *,
        on_step: Callable[[str], None],
        on_drop: Callable[[str, str], None],
        on_store: Callable[[bool], None],
    ) -> None:
        self._store = store
        self._numbers = dict.fromkeys(namespaces, 0)
        self._owed: set[str] = set()
        self._unsure = True  # until the first poll, and after a lost subscription
        self._polling: asyncio.Lock = asyncio.Lock()
        self._on_step = on_step
        self._on_drop = on_drop
        self._on_store = on_store
        self._reachable = True

    def number(self, namespace: str) -> int:
        return self._numbers[namespace]

    def owed(self, namespace: str) -> bool:
        return namespace in self._owed

    async def settle(self) -> None:
        """Before a use: after a lost subscription the numbers are read once more, unless Redis has just failed to
        answer.
        """
        if self._unsure and self._reachable:
            async with self._polling:
                if self._unsure and self._reachable:
                    await self._poll()

    async def poll(self) -> None:
        """The second's reading; also pays what is owed."""
        async with self._polling:
            await self._poll()

    async def step(self, *namespaces: str) -> None:
        """After COMMIT: everything cached under `namespaces` is old, here at once, elsewhere within a second."""
        for namespace in namespaces:
            self._move(namespace, self._numbers[namespace] + 1)
        for _ in range(TRIES if self._reachable else 1):
            if await self._increment(namespaces):
                return
        self._owed.update(namespaces)
        log.warning("cache generation not stepped, owed", namespaces=namespaces)

    async def drop(self, namespace: str, digest: str) -> None:
        """One entry goes from every L1 (L2's is the caller's)."""
        self._on_drop(namespace, digest)
        await self._ask(self._store.publish(CHANNEL, f"{namespace} {self._numbers[namespace]} {digest}"))

    def on_message(self, payload: str) -> None:
        """`<namespace> <generation>[ <digest>]`; anything else is somebody's mistake and ignored."""
        parts = payload.split(" ")
        if len(parts) not in (2, 3) or parts[0] not in self._numbers or not parts[1].isdecimal():
            return
        if len(parts) == 3:
            self._on_drop(parts[0], parts[2])
        elif int(parts[1]) > self._numbers[parts[0]]:
            self._move(parts[0], int(parts[1]))

    def on_lost(self) -> None:
        self._unsure = True

    async def _poll(self) -> None:
        if self._owed and not await self._increment(tuple(self._owed)):
            self._seen(reachable=False)
            return
        self._owed.clear()
        before = dict(self._numbers)
        values = await self._ask(self._store.mget([f"gen:{n}" for n in before]))
        if values is None:
            self._seen(reachable=False)
            return
        for (namespace, known), value in zip(before.items(), values, strict=True):
            await self._compare(namespace, known, int(value or 0))
        self._unsure = False
        self._seen(reachable=True)

    async def _compare(self, namespace: str, known: int, stored: int) -> None:
        """`known` is the number before the reading: only a store below that has lost something."""
        if stored > self._numbers[namespace]:
            self._move(namespace, stored)
        elif stored < known:
            raised = await self._ask(self._store.incrby(f"gen:{namespace}", known - stored + 1))
            if raised is not None:
                self._move(namespace, max(int(raised), self._numbers[namespace]))

    async def _increment(self, namespaces: tuple[str, ...]) -> bool:
        pipeline = self._store.pipeline(transaction=True)
        for namespace in namespaces:
            pipeline.incr(f"gen:{namespace}")
        numbers = await self._ask(pipeline.execute())
        if numbers is None:
            return False
        messages = self._store.pipeline(transaction=False)
        for namespace, number in zip(namespaces, numbers, strict=True):
            if int(number) != self._numbers[namespace]:
                self._move(namespace, max(int(number), self._numbers[namespace]))
            messages.publish(CHANNEL, f"{namespace} {number}")
        await self._ask(messages.execute())
        return True

    def _move(self, namespace: str, number: int) -> None:
        self._numbers[namespace] = number
        self._on_step(namespace)

    def _seen(self, *, reachable: bool) -> None:
        self._reachable = reachable
        self._on_store(reachable)

    async def _ask(self, command: Awaitable[Any]) -> Any:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await command
        except (RedisError, OSError, TimeoutError):
            return None
