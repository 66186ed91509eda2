"""The engine as a process on uvloop with the smallest pipeline (tests/load/plain_proxy.py), and an upstream that records what reaches it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.harness.wait import eventually

ROOT = Path(__file__).resolve().parents[2]
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], object]


@dataclass
class Proxy:
    port: int
    pid: int

    def rss_kib(self) -> int:
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * 4

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20)


@dataclass
class Recorder:
    """Answers each head with 200 and its body's length; keeps every byte."""

    port: int = 0
    raw: bytearray = field(default_factory=bytearray)
    whole: int = 0
    open: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.raw += head
                await self._body(head.lower(), reader)
                self.whole += 1
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            writer.close()

    async def _body(self, head: bytes, reader: asyncio.StreamReader) -> None:
        if b"transfer-encoding: chunked" in head:
            while not (line := await reader.readuntil(b"\r\n")).startswith(b"0"):
                self.raw += line + await reader.readexactly(int(line, 16) + 2)
            self.raw += line + await reader.readuntil(b"\r\n")
        for line in head.split(b"\r\n"):
            if line.startswith(b"content-length:"):
                self.raw += await reader.readexactly(int(line.split(b":")[1]))


@contextlib.asynccontextmanager
async def proxy(*upstreams: int, **named: float) -> AsyncIterator[Proxy]:
    """`named`: of `Limits` and `Deadlines`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    extra = [f"{name}={number}" for name, number in named.items()]
    command = [sys.executable, "-m", "tests.load.plain_proxy", str(port), *map(str, upstreams), *extra]
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT)

    async def listens() -> bool:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        return True

    try:
        await eventually(listens, 10, "the proxy listens")
        yield Proxy(port, process.pid)
        assert process.returncode is None, "the proxy has ended"
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


@contextlib.asynccontextmanager
async def serving(serve: Serve) -> AsyncIterator[int]:
    """A real server on a free port."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 20)  # type: ignore[arg-type]
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@contextlib.asynccontextmanager
async def recorded() -> AsyncIterator[tuple[Proxy, Recorder]]:
    recorder = Recorder()
    async with serving(recorder.serve) as port, proxy(port) as running:
        recorder.port = port
        yield running, recorder
    await eventually(lambda: recorder.open == 0, 5, "the proxy's connections are gone")
