"""Small real upstreams for the balancer's tests: an HTTP/1.1 server whose answers a test scripts, in-process or as a
process to kill.

In-process: `async with Upstream("api-1") as api: api.mode = "500"`. As a process: `async with UpstreamProcess("api-1")
as api: api.kill()`; SIGTERM makes it drain as a real api does (red `/ready`, `Connection: close`, then no listener,
then exit).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import struct
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.harness.wait import eventually

ROOT = Path(__file__).resolve().parents[2]
DRAIN_DELAY_S = 0.5

# what an upstream does with a request that is not for /ready
OK, HANG, RESET, CUT, CUT_LONG, INVALID = "ok", "hang", "reset", "cut", "cut-long", "invalid"


@dataclass(frozen=True, slots=True)
class Seen:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Upstream:
    """`mode`: ok, a status ("500"), hang, reset, cut (after the head), cut-long, invalid. `delay_s` before each answer. `extra`: more response
    fields. `places`: so many are worked on at once, the others wait (None: all).
    """

    def __init__(self, name: str, port: int = 0) -> None:
        self.name = name
        self.port = port
        self.mode = OK
        self.delay_s = 0.0
        self.places: asyncio.Semaphore | None = None
        self.extra: dict[str, str] = {}
        self.ready = 200
        self.draining = False
        self.seen: list[Seen] = []
        self.probes = 0
        self.connects = 0
        self.in_flight = 0
        self._server: asyncio.Server | None = None
        self._writers: dict[asyncio.StreamWriter, asyncio.Task[Any]] = {}

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.close()

    @property
    def info(self) -> dict[str, Any]:
        """Its entry of an endpoints file."""
        return {"id": self.name, "host": "127.0.0.1", "port": self.port}

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """No listener, every connection reset: as after a SIGKILL."""
        if self._server is not None:
            self._server.close()
            self._server = None
        handlers = list(self._writers.values())
        for writer, handler in list(self._writers.items()):
            writer.transport.abort()
            handler.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)

    def stop_listening(self) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handler = asyncio.current_task()
        assert handler is not None
        self._writers[writer] = handler
        self.connects += 1
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while await self._one(reader, writer):
                    pass
        finally:
            del self._writers[writer]
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        request = await read_request(reader)
        if request.path == "/ready":
            self.probes += 1
            await self._answer(writer, self._ready_status(), self._ready_body(), close=False)
            return request.headers.get("connection") != "close"
        self.seen.append(request)
        self.in_flight += 1
        try:
            return await self._act(writer, request)
        finally:
            self.in_flight -= 1

    async def _act(self, writer: asyncio.StreamWriter, request: Seen) -> bool:
        if self.mode == HANG:
            await asyncio.sleep(60)
        async with self.places or contextlib.nullcontext():
            await asyncio.sleep(self.delay_s)
        if self.mode == RESET:
            reset(writer)
            return False
        if self.mode == INVALID:
            writer.write(b"HTTP/1.1 two hundred\r\n\r\n")
            return False
        if self.mode in {CUT, CUT_LONG}:
            length = 100 if self.mode == CUT else 100_000
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\nshort" % length)
            await writer.drain()
            return False
        body = json.dumps({"servedBy": self.name, "path": request.path, "length": len(request.body)}).encode()
        await self._answer(writer, 200 if self.mode == OK else int(self.mode), body, close=self.draining)
        return not self.draining

    async def _answer(self, writer: asyncio.StreamWriter, status: int, body: bytes, *, close: bool) -> None:
        fields = {"Content-Type": "application/json", "Content-Length": str(len(body)), "X-Served-By": self.name}
        if close:
            fields["Connection"] = "close"
        lines = "".join(f"{name}: {value}\r\n" for name, value in (fields | self.extra).items())
        writer.write(f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode() + body)
        await writer.drain()

    def _ready_status(self) -> int:
        return 503 if self.draining else self.ready

    def _ready_body(self) -> bytes:
        good = self._ready_status() == 200
        checks = {"started": True, "serving": not self.draining}
        return json.dumps({"status": "ready" if good else "not ready", "checks": checks}).encode()


async def read_request(reader: asyncio.StreamReader) -> Seen:
    """One request, its body by Content-Length or chunks."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readexactly(2)
    else:
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Seen(method, path, headers, body)


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class UpstreamProcess:
    """The same as a process of its own; ends with the block. `places` and `delay_s`: its capacity (0: no bound)."""

    def __init__(self, name: str, places: int = 0, delay_s: float = 0.0) -> None:
        self.name = name
        self._capacity = (str(places), str(delay_s))
        self.port = 0
        self.process: asyncio.subprocess.Process

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    @property
    def info(self) -> dict[str, Any]:
        return {"id": self.name, "host": "127.0.0.1", "port": self.port}

    async def start(self) -> None:
        """Again on the same port after it has ended."""
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.integration.upstreams",
            self.name,
            str(self.port),
            *self._capacity,
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )
        assert self.process.stdout is not None
        self.port = int(await asyncio.wait_for(self.process.stdout.readline(), 10))

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()

    async def term(self) -> int:
        self.process.terminate()
        return await self.process.wait()

    def stop(self) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)

    def cont(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)


async def main(name: str, port: int, places: int, delay_s: float) -> None:
    async with Upstream(name, port) as upstream:
        upstream.places, upstream.delay_s = asyncio.Semaphore(places) if places else None, delay_s
        print(upstream.port, flush=True)
        gone = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, gone.set)
        await gone.wait()
        upstream.draining = True
        await asyncio.sleep(DRAIN_DELAY_S)
        upstream.stop_listening()
        await eventually(lambda: not upstream.in_flight, 10, "nothing in flight", 0.01)


def shares(seen: list[Upstream]) -> Counter[str]:
    return Counter({upstream.name: len(upstream.seen) for upstream in seen})


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
