"""redis-py, the parts we use: a client for commands off the hot path, and a subscription that survives its connection.

The limiter and session look-ups have their own connection (redis_batch.py). Used by the gateway (invalidations) and
the api.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from typing import Final

import redis.asyncio as aioredis
from redis.exceptions import RedisError

from services.runtime import tasks
from services.runtime.log import get_log

TIMEOUT_S: Final = 1.0
SILENCE_S: Final = 1.0  # a PING per second of silence: a dead peer is noticed within two
RETRY_S: Final = (0.05, 1.0)

OnMessage = Callable[[str, str], None]  # channel, payload
log = get_log(__name__)


def connect(url: str, *, timeout_s: float = TIMEOUT_S, client: type[aioredis.Redis] = aioredis.Redis) -> aioredis.Redis:
    """A lazy client for redis://, rediss:// and unix:// URLs; RESP3, every call bounded."""
    return client.from_url(
        url,
        protocol=3,
        decode_responses=False,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        max_connections=64,
    )


class Subscription:
    """Hears channels. After each loss of the connection, once it hears again, `on_gap` is called: messages may have
    been missed.
    """

    def __init__(self, url: str, channels: tuple[str, ...], on_message: OnMessage, on_gap: Callable[[], None]) -> None:
        self._url, self._channels, self._on_message, self._on_gap = url, channels, on_message, on_gap
        self._task: asyncio.Task[None] | None = None
        self.alive = False

    def start(self) -> None:
        self._task = tasks.spawn(self._run(), name=f"subscribe {','.join(self._channels)}")

    async def stop(self) -> None:
        await tasks.stop(self._task)

    async def _run(self) -> None:
        wait_s, lost = RETRY_S[0], False
        while True:
            try:
                async with connect(self._url) as client, client.pubsub() as pubsub:
                    await pubsub.subscribe(*self._channels)
                    wait_s = RETRY_S[0]
                    await self._listen(pubsub, lost=lost)
            except (RedisError, OSError) as error:
                if self.alive or not lost:
                    log.warning("subscription lost", channels=self._channels, error=str(error))
            self.alive, lost = False, True
            await asyncio.sleep(wait_s * random.random())  # noqa: S311  # jitter
            wait_s = min(2 * wait_s, RETRY_S[1])

    async def _listen(self, pubsub: aioredis.client.PubSub, *, lost: bool) -> None:
        waiting = False  # a PING has not been answered
        while True:
            message = await pubsub.get_message(timeout=SILENCE_S)
            if message is None:
                if waiting:
                    raise OSError("no answer to PING")
                await pubsub.ping()
                waiting = True
                continue
            waiting = False
            if message["type"] == "subscribe" and not self.alive:
                self.alive = True
                if lost:
                    self._on_gap()
            elif message["type"] == "message":
                with contextlib.suppress(UnicodeDecodeError):
                    self._on_message(message["channel"].decode(), message["data"].decode())
