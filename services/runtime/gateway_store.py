"""What the gateway reads from Postgres: API keys by their ids, and all overrides. Two connections, 500 ms, two views,
nothing else.

Keys that are wanted while the connections are busy share the next query: many new callers at once cost a few queries,
not one each in a queue that a slow store turns into time-outs.

Its role (`scalable_gateway`) may SELECT from those views only. While Postgres is away nobody waits for it: after a
failure look-ups fail at once for a second, then one tries again (reliability.md P6). Called by gateway/keys.py and
gateway/overrides.py.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg

from services.runtime.log import get_log
from services.runtime.tasks import spawn

CONNECTIONS: Final = 2
TIMEOUT_S: Final = 0.5
PAUSE_S: Final = 1.0
SQL: Final = Path(__file__).with_name("sql")
KEYS_SQL: Final = (SQL / "gateway_keys.sql").read_text(encoding="utf-8")
OVERRIDES_SQL: Final = (SQL / "gateway_overrides.sql").read_text(encoding="utf-8")

Note = Callable[[bool, float | None], None]  # up, seconds the call took
log = get_log(__name__)


class StoreAwayError(Exception):
    """Postgres did not answer in time, or not at all."""


@dataclass(frozen=True, slots=True)
class KeyRow:
    id: str
    key_hash: bytes
    pepper_id: int
    user_id: str
    tier: str
    scopes: tuple[str, ...]
    role: str
    seconds_left: float | None  # None: never expires
    revoked: bool
    disabled: bool  # its owner is


@dataclass(frozen=True, slots=True)
class OverrideRow:
    identifier: str
    requests_per_minute: int
    burst_limit: int | None
    mode: str
    seconds_left: float | None


class GatewayStore:
    def __init__(self, url: str, note: Note | None = None) -> None:
        self._url = url
        self._note = note
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._paused_until = 0.0
        self._wanted: dict[str, asyncio.Future[KeyRow | None]] = {}  # for the next query
        self._asking = 0

    async def close(self) -> None:
        if self._pool is not None:
            self._pool.terminate()

    async def key(self, key_id: str) -> KeyRow | None:
        """The key's row, None if there is no such key. Raises StoreAwayError."""
        wanted = self._wanted.get(key_id)
        if wanted is None:
            wanted = self._wanted[key_id] = asyncio.get_running_loop().create_future()
            if self._asking < CONNECTIONS:
                self._asking += 1
                spawn(self._ask(), name="key-query")
        return await asyncio.shield(wanted)

    async def overrides(self) -> list[OverrideRow]:
        """Every live override. Raises StoreAwayError."""
        return [OverrideRow(**dict(row)) for row in await self._fetch(OVERRIDES_SQL)]

    async def _ask(self) -> None:
        """Query until nobody waits; whatever happens, everybody hears."""
        try:
            while self._wanted:
                wanted, self._wanted = self._wanted, {}
                try:
                    rows = await self._fetch(KEYS_SQL, list(wanted))
                except StoreAwayError as error:
                    for waiting in wanted.values():
                        waiting.set_exception(StoreAwayError(str(error)))
                else:
                    found = {row["id"]: _key(row) for row in rows}
                    for key_id, waiting in wanted.items():
                        waiting.set_result(found.get(key_id))
                finally:
                    for waiting in wanted.values():
                        waiting.cancel()
        finally:
            self._asking -= 1

    async def _fetch(self, sql: str, *values: Any) -> list[asyncpg.Record]:
        started = time.monotonic()
        if started < self._paused_until:
            raise StoreAwayError("Postgres is away")
        try:
            async with asyncio.timeout(TIMEOUT_S):
                pool = await self._open()
                rows = await pool.fetch(sql, *values)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            self._paused_until = time.monotonic() + PAUSE_S
            self._tell(up=False, seconds=None)
            log.warning("Postgres look-up failed", error=str(error) or type(error).__name__)
            raise StoreAwayError(str(error)) from None
        self._tell(up=True, seconds=time.monotonic() - started)
        return rows

    async def _open(self) -> asyncpg.Pool[asyncpg.Record]:
        if self._pool is None:
            self._pool = asyncpg.create_pool(
                self._url, min_size=0, max_size=CONNECTIONS, timeout=TIMEOUT_S, command_timeout=TIMEOUT_S
            )
            await self._pool
        return self._pool

    def _tell(self, *, up: bool, seconds: float | None) -> None:
        if self._note is not None:
            self._note(up, seconds)


def _key(row: asyncpg.Record) -> KeyRow:
    values = dict(row)
    return KeyRow(**{**values, "key_hash": bytes(values["key_hash"]), "scopes": tuple(values["scopes"])})
