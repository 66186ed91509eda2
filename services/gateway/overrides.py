"""Reads all overrides (`rate_limit_configs`, at most 10 000 rows) each minute and on a message, and hands them to the
limiter.

In force within 2 s by pub/sub, within 60 s by poll; the limiter checks expiry on each use. While Postgres is away the
last known set stays. The limiter gets a set only when it differs from the one before: a new one costs it every
prepared command.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from services.runtime.gateway_store import OverrideRow, StoreAwayError
from services.runtime.tasks import spawn, stop

POLL_S: Final = 60.0
RETRY_S: Final = 2.0
SETTLE_S: Final = 0.05  # several messages, one reading
SLACK_S: Final = 1.0  # two readings of one expiry differ by their own delay


class OverrideStore(Protocol):
    """Where overrides are: Postgres (runtime/gateway_store.py), or a list in tests."""

    async def overrides(self) -> list[OverrideRow]: ...


class OverrideFeed:
    def __init__(
        self, store: OverrideStore, use: Callable[[list[OverrideRow]], None], clock: Callable[[], float]
    ) -> None:
        self._store, self._use, self._clock = store, use, clock
        self._known: dict[str, tuple[OverrideRow, float]] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = spawn(self._watch(), name="overrides")

    async def stop(self) -> None:
        await stop(self._task)

    def reload(self) -> None:
        """A message came, or one may have been missed."""
        self._wake.set()

    async def load(self) -> bool:
        """Read the set now; False if Postgres is away."""
        try:
            rows = await self._store.overrides()
        except StoreAwayError:
            return False
        now = self._clock()
        found = {row.identifier: (row, now + (row.seconds_left or 0.0)) for row in rows}
        if not _same(found, self._known):
            self._known = found
            self._use(rows)
        return True

    async def _watch(self) -> None:
        while True:
            wait_s = POLL_S if await self.load() else RETRY_S
            try:
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()
                await asyncio.sleep(SETTLE_S)
            except TimeoutError:
                pass
            self._wake.clear()


def _same(one: dict[str, tuple[OverrideRow, float]], other: dict[str, tuple[OverrideRow, float]]) -> bool:
    return one.keys() == other.keys() and all(_alike(found, other[name]) for name, found in one.items())


def _alike(one: tuple[OverrideRow, float], other: tuple[OverrideRow, float]) -> bool:
    (row, ends), (before, ended) = one, other
    if (row.seconds_left is None) is not (before.seconds_left is None):
        return False
    limits = (row.requests_per_minute, row.burst_limit, row.mode)
    same_end = row.seconds_left is None or abs(ends - ended) < SLACK_S
    return same_end and limits == (before.requests_per_minute, before.burst_limit, before.mode)
