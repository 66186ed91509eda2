"""Spans of the api: `handler` for a sampled request, and within it each call to Redis and Postgres.

Made only in a process that exports spans (runtime/tracing.py); `Services.spans` is None in all others. Whose call it is
is known by a context variable, so it follows a request into the tasks it starts. Callers: edge.py, db.py, and app.py,
which puts `TracedRedis` in the place of redis-py's client.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from services.runtime.ids import draw_ids
from services.runtime.tracing import CLIENT, SERVER, Span, Tracing

SAMPLED: Final = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f][13579bdf]")
_current: ContextVar[Trace | None] = ContextVar("trace", default=None)


class Trace:
    """A sampled request under way."""

    def __init__(self, tracing: Tracing, trace_id: str, parent_id: str) -> None:
        self._tracing, self._trace_id, self._parent_id = tracing, trace_id, parent_id
        self._span_id = draw_ids()[1].decode()
        self._started = time.monotonic()
        self._token: Token[Trace | None] = _current.set(self)

    def end(self, method: str, route: str, status: int) -> None:
        """With the status that was answered, 0 if none was."""
        _current.reset(self._token)
        about: dict[str, str | int] = {"http.request.method": method, "http.route": route}
        about |= {"http.response.status_code": status} if status else {}
        failed = status >= 500 or not status
        ids = (self._trace_id, self._span_id, self._parent_id)
        self._tracing.add(Span("handler", *ids, self._started, time.monotonic(), SERVER, failed, about))

    def call(self, name: str, seconds: float, *, failed: bool = False) -> None:
        """A call that has just returned."""
        now = time.monotonic()
        ids = (self._trace_id, draw_ids()[1].decode(), self._span_id)
        self._tracing.add(Span(name, *ids, now - seconds, now, CLIENT, failed))


class RequestSpans:
    def __init__(self, tracing: Tracing) -> None:
        self._tracing = tracing

    def begin(self, traceparent: str) -> Trace | None:
        """None: this request is not sampled. Its maker calls `end`, in the same task."""
        match = SAMPLED.fullmatch(traceparent)
        return Trace(self._tracing, match[1], match[2]) if match else None


def called(name: str, seconds: float) -> None:
    """A call of the request under way, if that is sampled, has taken so long."""
    if trace := _current.get():
        trace.call(name, seconds)


@contextmanager
def timed(name: str) -> Iterator[None]:
    """The block is such a call; failed if it raises."""
    trace = _current.get()
    if trace is None:
        yield
        return
    started, failed = time.monotonic(), True
    try:
        yield
        failed = False
    finally:
        trace.call(name, time.monotonic() - started, failed=failed)


class TracedRedis(Redis):
    """redis-py's client, each command and each pipeline a span."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        with timed(f"redis {args[0]}"):
            return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]  # redis-py's

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> TracedPipeline:
        return TracedPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


class TracedPipeline(Pipeline):
    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        with timed("redis pipeline"):
            return await super().execute(raise_on_error)
