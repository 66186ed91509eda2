"""Open-loop streams: so many requests a second of one identity, whatever the answers take; and what became of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from services.cli.traffic.connection import Connection, Reply

OUTSTANDING: Final = 500
TIMEOUT_S: Final = 10.0
IDLE_MAX: Final = 64


@dataclass(slots=True)
class Tally:
    """What became of a phase's requests."""

    statuses: Counter[int] = field(default_factory=Counter)  # 0: no answer
    codes: Counter[str] = field(default_factory=Counter)  # what the answer says of itself, of 5xx
    slowest_ms: float = 0.0
    open_ms: list[float] = field(default_factory=list)  # latencies of 503 by an open breaker
    retry_after: str = ""  # of the first 429
    unsent: int = 0

    @property
    def sent(self) -> int:
        return sum(self.statuses.values())

    @property
    def ok(self) -> int:
        return sum(n for status, n in self.statuses.items() if 200 <= status < 400)

    @property
    def limited(self) -> int:
        return self.statuses[429]

    @property
    def failed(self) -> int:
        """Neither an answer nor a refusal with a reason: what a client would call an outage."""
        known = self.codes["CIRCUIT_OPEN"] + self.codes["EXTERNAL_ERROR"]
        return self.statuses[0] + sum(n for status, n in self.statuses.items() if status >= 500) - known

    def add(self, reply: Reply, ms: float) -> None:
        self.statuses[reply.status] += 1
        self.slowest_ms = max(self.slowest_ms, ms)
        if reply.status == 429 and not self.retry_after:
            self.retry_after = reply.headers.get("retry-after", "")
        if reply.status >= 500:
            code = next((c for c in ("CIRCUIT_OPEN", "EXTERNAL_ERROR") if c.encode() in reply.body), "OTHER")
            self.codes[code] += 1
            if code == "CIRCUIT_OPEN":
                self.open_ms.append(ms)


@dataclass(slots=True)
class Stream:
    """`make(i)` gives the bytes of request i."""

    rate: float
    make: Callable[[int], bytes]
    source: str | None = None


class Sender:
    """Connections by source address, kept over phases."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._idle: dict[str | None, list[Connection]] = {}

    async def run(self, streams: list[Stream], seconds: float, tally: Tally) -> None:
        """All streams for so long; then waits for what is under way."""
        async with asyncio.TaskGroup() as group:
            for stream in streams:
                group.create_task(self._stream(stream, seconds, tally))

    async def _stream(self, stream: Stream, seconds: float, tally: Tally) -> None:
        loop = asyncio.get_running_loop()
        start, under_way = loop.time(), set[asyncio.Task[None]]()
        for number in range(int(stream.rate * seconds)):
            due = start + number / stream.rate
            if (early := due - loop.time()) > 0:
                await asyncio.sleep(early)
            if len(under_way) >= OUTSTANDING:
                tally.unsent += 1
                continue
            task = loop.create_task(self._one(stream, number, tally))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
        if under_way:
            await asyncio.wait(under_way)

    async def _one(self, stream: Stream, number: int, tally: Tally) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            reply = await self.send(stream.make(number), stream.source)
        except OSError:
            reply = Reply()
        tally.add(reply, (loop.time() - started) * 1000)

    async def send(self, data: bytes, source: str | None = None) -> Reply:
        """Over an idle connection, or a new one. Raises OSError."""
        idle = self._idle.setdefault(source, [])
        connection = None
        while idle and (connection is None or connection.closed):
            connection = idle.pop()
        if connection is None or connection.closed:
            connection = await Connection.open(self._host, self._port, source)
        reply = await connection.send(data, TIMEOUT_S)
        if len(idle) < IDLE_MAX and not connection.closed:
            idle.append(connection)
        else:
            connection.close()
        return reply

    def close(self) -> None:
        for idle in self._idle.values():
            for connection in idle:
                connection.close()


async def beside(work: Awaitable[None], act: Callable[[], Awaitable[None]], after_s: float) -> None:
    """Runs `work`, and `act` once, `after_s` into it."""

    async def later() -> None:
        await asyncio.sleep(after_s)
        await act()

    doing = asyncio.ensure_future(later())  # noqa: TID251  # awaited below
    try:
        await work
        await doing
    finally:
        doing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await doing
