"""What an identity change tells the gateways, so that a revoked key or an ended session dies within two seconds
(contract.md 4).

Payloads on `inv:identity`: `key:<id>`, `user:<uuid>`, `sess:<sid>`, `override:<identifier>`. A route says it directly
after its COMMIT; changes made by hand in SQL come from the database's triggers (`pg_notify('inv', …)`) through
`Relay`. Twice is harmless: a notice only makes a reader look again.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import asyncpg
from redis.asyncio import Redis
from redis.exceptions import RedisError

from services.runtime import tasks
from services.runtime.log import get_log

CHANNEL: Final = "inv:identity"
NOTIFY: Final = "inv"
RETRY_S: Final = 1.0
LOOK_S: Final = 5.0
log = get_log(__name__)


class Notices:
    """Says it once; a lost notice is bounded by the gateways' cache times, so failing to say it fails no request."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def say(self, *payloads: str) -> None:
        try:
            for payload in payloads:
                await self._redis.publish(CHANNEL, payload)
        except (RedisError, OSError) as error:
            log.warning("notice not sent", payloads=payloads, error=type(error).__name__)


class Relay:
    """Listens to Postgres on a connection of its own and repeats what it hears in Redis."""

    def __init__(self, database_url: str, notices: Notices) -> None:
        self._url = database_url
        self._notices = notices
        self._heard: asyncio.Queue[str] = asyncio.Queue(10_000)
        self._tasks: list[asyncio.Task[Any]] = []
        self.alive = False

    def start(self) -> None:
        self._tasks = [
            tasks.spawn(self._listen(), name="relay-listen"),
            tasks.spawn(self._repeat(), name="relay-repeat"),
        ]

    async def stop(self) -> None:
        await tasks.stop(*self._tasks)

    async def _listen(self) -> None:
        while True:
            try:
                await self._session()
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                if self.alive:
                    log.warning("relay lost the database", error=type(error).__name__)
            self.alive = False
            await asyncio.sleep(RETRY_S)

    async def _session(self) -> None:
        connection = await asyncpg.connect(
            self._url, timeout=3.0, command_timeout=3.0, server_settings={"application_name": "scalable-relay"}
        )
        try:
            await connection.add_listener(NOTIFY, self._hear)
            self.alive = True
            while not connection.is_closed():
                await asyncio.sleep(LOOK_S)
                await connection.fetchval("SELECT 1")  # notices a server that went without saying so
        finally:
            connection.terminate()

    def _hear(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        if not self._heard.full():
            self._heard.put_nowait(str(payload))

    async def _repeat(self) -> None:
        while True:
            await self._notices.say(await self._heard.get())
