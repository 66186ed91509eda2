"""Many raw connections to one server, each write of each a read of its own there: what a byte-by-byte client is made of.

A write is a read of its own only if the server has taken it before the next one leaves. The kernel knows: `Taken` waits
until no byte stands in any receive queue of the server's side (/proc/net/tcp). One look serves all connections, so they
are driven in step. Each connection has a loopback address of its own (`ADDRESSES`), which the gateway names upstream.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import struct
from pathlib import Path
from typing import Any, Final

import httptools

RESET: Final = struct.pack("ii", 1, 0)
LOOK_S: Final = 0.001


def addresses() -> itertools.chain[bytes]:
    """Loopback addresses, none twice: 127.64.0.1 and up."""
    return itertools.chain(b"127.%d.%d.%d" % (64 + n // 62_500, n // 250 % 250, n % 250 + 1) for n in itertools.count())


class Taken:
    """Waits until the server has read all that was sent to it: by clients to `port`, by the upstream on `upstream`."""

    def __init__(self, port: int, upstream: int) -> None:
        self._local = f":{port:04X} "
        self._remote = f":{upstream:04X} "

    async def wait(self, within_s: float = 5.0) -> bool:
        """False if some bytes still stand there: the server has stopped reading."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + within_s
        await asyncio.sleep(0)
        while loop.time() >= ends or self._stands():
            if loop.time() >= ends:
                return False
            await asyncio.sleep(LOOK_S)
        return True

    def _stands(self) -> bool:
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            # "  0: local:port remote:port state tx:rx …"
            _, local, remote, _state, queues = line.split(None, 5)[:5]
            ours = f"{local} ".endswith(self._local) or f"{remote} ".endswith(self._remote)
            if ours and not queues.endswith(":00000000"):
                return True
        return False


class Wire:
    """One client connection: writes what it is told, parses what comes."""

    def __init__(self, source: bytes) -> None:
        self.source = source
        self.transport: Any = None
        self.answers: list[tuple[int, bytes]] = []
        self.heads: list[dict[bytes, bytes]] = []
        self.whole = 0
        self.ended = False
        self.reset = False
        self.done = False  # closed by us: what happens now is not the server's doing
        self.broken = ""
        self._parser: Any = httptools.HttpResponseParser(self)
        self._fields: dict[bytes, bytes] = {}
        self._moved: asyncio.Future[None] | None = None

    async def open(self, port: int) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self, "127.0.0.1", port, local_addr=(self.source.decode(), 0))  # type: ignore[type-var]

    def send(self, data: bytes) -> None:
        if not self.ended and data:
            self.transport.write(data)

    async def until(self, whole: int, *, closes: bool, within_s: float = 5.0) -> None:
        """So many answers, and the end if there should be one; in vain after `within_s`."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + within_s
        while not self.ended and not self.broken and (self.whole < whole or closes) and loop.time() < ends:
            self._moved = loop.create_future()
            try:
                async with asyncio.timeout_at(ends):
                    await self._moved
            except TimeoutError:
                return

    def close(self) -> None:
        """With a reset, so that no port lingers; tens of thousands are opened."""
        self.done = True
        sock = self.transport.get_extra_info("socket")
        if sock is not None and not self.reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.transport.abort()

    # -- the transport's calls

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.broken = f"{error}: {data[:200]!r}"
        self._wake()

    def eof_received(self) -> bool:
        self.ended = self.ended or not self.done
        self._wake()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done:
            self.ended = True
            self.reset = error is not None
            self._wake()

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...

    def _wake(self) -> None:
        if self._moved is not None and not self._moved.done():
            self._moved.set_result(None)

    # -- llhttp's calls

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields[name.lower()] = value

    def on_headers_complete(self) -> None:
        self.answers.append((self._parser.get_status_code(), b""))
        self.heads.append(self._fields)
        self._fields = {}

    def on_body(self, data: bytes) -> None:
        status, body = self.answers[-1]
        self.answers[-1] = (status, body + data)

    def on_message_complete(self) -> None:
        self.whole += 1
