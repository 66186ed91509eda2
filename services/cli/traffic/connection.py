"""One HTTP/1.1 connection of a load generator: one request at a time, a cut answer never looks complete.

Used by the demo's traffic and by the tests' harness; httpx would cost ten times as much per request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import httptools


def request(method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> bytes:
    """The bytes of one request; Host and Content-Length are added where they are missing."""
    fields = {"host": "test", **{k.lower(): v for k, v in (headers or {}).items()}}
    if body or method in ("POST", "PUT", "PATCH"):
        fields.setdefault("content-length", str(len(body)))
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


@dataclass(slots=True)
class Reply:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    close: bool = False


class Connection(asyncio.Protocol):
    """One request at a time over one connection. A broken one raises ConnectionError, a cut answer never looks
    complete.
    """

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.closed = False
        self._waiter: asyncio.Future[Reply] | None = None
        self._fresh()

    def _fresh(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._reply = Reply()
        self._body: list[bytes] = []

    @classmethod
    async def open(cls, host: str, port: int, source: str | None = None) -> Connection:
        local = None if source is None else (source, 0)
        _, protocol = await asyncio.get_running_loop().create_connection(cls, host, port, local_addr=local)
        return protocol

    async def send(self, data: bytes, timeout_s: float = 10.0) -> Reply:
        if self.closed or self.transport is None:
            raise ConnectionError("closed before the request")
        self._waiter = asyncio.get_running_loop().create_future()
        self.transport.write(data)
        try:
            async with asyncio.timeout(timeout_s):
                return await self._waiter
        except TimeoutError:
            self.close()
            raise ConnectionError(f"no answer within {timeout_s} s") from None
        finally:
            self._waiter = None

    def close(self) -> None:
        self.closed = True
        if self.transport is not None:
            self.transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # TCP's is one, uvloop's only looks like one

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(ConnectionError(f"not HTTP: {error}"))
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        if self._waiter is not None and self._until_close():
            self.on_message_complete()
        self._fail(ConnectionError(f"connection lost before the whole answer: {exc}"))

    def _until_close(self) -> bool:
        framed = {"content-length", "transfer-encoding"} & self._reply.headers.keys()
        return self._reply.status >= 200 and not framed

    def _fail(self, error: ConnectionError) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)

    def on_header(self, name: bytes, value: bytes) -> None:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self._reply.headers[key] = f"{self._reply.headers[key]}, {text}" if key in self._reply.headers else text

    def on_headers_complete(self) -> None:
        self._reply.status = self._parser.get_status_code()
        self._reply.close = not self._parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        if 100 <= self._reply.status < 200:
            self._reply, self._body = Reply(), []
            return
        self._reply.body = b"".join(self._body)
        reply, waiter = self._reply, self._waiter
        self._fresh_after(reply)
        if waiter is not None and not waiter.done():
            waiter.set_result(reply)

    def _fresh_after(self, reply: Reply) -> None:
        self._reply, self._body = Reply(), []
        if reply.close and self.transport is not None:
            self.close()
