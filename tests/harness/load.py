"""Open-loop load: request i is due at t0 + i / rate whatever happened to the ones before; latency counts from when
it was due.

No retries of its own. A connection the server closed between requests is replaced, that is not a failure; one that
breaks after the request was written is. More than `OUTSTANDING` waiting at once are counted as unsent.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from tests.harness.http import Connection, Reply, request

OUTSTANDING: Final = 2000


@dataclass(frozen=True, slots=True)
class Sample:
    """One request: when it was due and how long it took from then (s); `status` 0 = it failed on the wire, see
    `error`.
    """

    number: int
    due_s: float
    latency_s: float
    status: int
    error: str = ""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Report:
    samples: list[Sample] = field(default_factory=list)
    unsent: int = 0

    @property
    def statuses(self) -> Counter[int]:
        return Counter(s.status for s in self.samples)

    @property
    def ok(self) -> list[Sample]:
        return [s for s in self.samples if 200 <= s.status < 400]

    @property
    def failed(self) -> list[Sample]:
        """No answer, or a 5xx: what a client would call an outage. 4xx (429) are answers."""
        return [s for s in self.samples if s.status == 0 or s.status >= 500]

    def quantile(self, q: float) -> float:
        ordered = sorted(s.latency_s for s in self.samples)
        return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else 0.0

    def __str__(self) -> str:
        shown = [f"{s.due_s:.2f}s {s.status} {s.error or s.headers.get('x-request-id', '')}" for s in self.failed[:5]]
        return (
            f"{len(self.samples)} sent {dict(self.statuses)} unsent {self.unsent} p50 {self.quantile(0.5):.4f} {shown}"
        )


@dataclass(slots=True)
class OpenLoop:
    """`await OpenLoop(url, rate=300, seconds=10).run()`; several urls are taken in turn."""

    url: str | Sequence[str]
    rate: float
    seconds: float
    path: str | Callable[[int], str] = "/api/v1/status"
    method: str = "GET"
    headers: dict[str, str] | Callable[[int], dict[str, str]] = field(default_factory=dict)
    body: bytes | Callable[[int], bytes] = b""
    source: str | None = None
    timeout_s: float = 10.0
    report: Report = field(default_factory=Report)
    _idle: dict[str, list[Connection]] = field(default_factory=dict)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)

    def stop(self) -> None:
        """Ends the run early; what is under way is finished."""
        self._stop.set()

    async def run(self) -> Report:
        loop = asyncio.get_running_loop()
        start, under_way = loop.time(), set[asyncio.Task[None]]()
        for number in range(int(self.rate * self.seconds)):
            due = start + number / self.rate
            if (early := due - loop.time()) > 0:
                await asyncio.sleep(early)
            if self._stop.is_set():
                break
            if len(under_way) >= OUTSTANDING:
                self.report.unsent += 1
                continue
            task = loop.create_task(self._one(number, due, start))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
        await asyncio.gather(*under_way)
        for connection in (c for idle in self._idle.values() for c in idle):
            connection.close()
        await asyncio.sleep(0)
        return self.report

    async def _one(self, number: int, due: float, start: float) -> None:
        urls = [self.url] if isinstance(self.url, str) else self.url
        try:
            reply, error = await self._send(urls[number % len(urls)], self._bytes(number)), ""
        except OSError as fault:
            reply, error = Reply(), f"{type(fault).__name__}: {fault}"
        late = asyncio.get_running_loop().time() - due
        self.report.samples.append(Sample(number, due - start, late, reply.status, error, reply.headers))

    def _bytes(self, number: int) -> bytes:
        path = self.path(number) if callable(self.path) else self.path
        headers = self.headers(number) if callable(self.headers) else self.headers
        return request(self.method, path, headers, self.body(number) if callable(self.body) else self.body)

    async def _send(self, url: str, data: bytes) -> Reply:
        idle = self._idle.setdefault(url, [])
        connection = idle.pop() if idle else None
        while connection is not None and connection.closed:
            connection = idle.pop() if idle else None
        if connection is None:
            parts = urlsplit(url)
            connection = await Connection.open(parts.hostname or "127.0.0.1", parts.port or 80, self.source)
        reply = await connection.send(data, self.timeout_s)
        if not connection.closed:
            idle.append(connection)
        return reply
