"""Slow clients of each kind against the engine as a process, and good clients beside them: are the slow ones cut in time, do the good ones
notice? `python -m tests.load.slow_clients [COUNT]` (5 000 of each kind, as far as descriptors allow) prints one JSON line per kind.

`head`: one byte of a head per second. `body`: one of a body. `reader`: asks for a long answer and takes nothing of it. A herd is a process of
its own (`… herd KIND PORT COUNT WITHIN_S`): what it costs must not make the good clients look late.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import socket
import struct
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.harness.load import OpenLoop, Report
from tests.integration.proxied import proxy, serving

ROOT = Path(__file__).resolve().parents[2]
HEAD_S, BODY_S, STALL_S = (
    5.0,
    5.0,
    6.0,
)  # the engine's own, but the last: half a minute of silence tests no more than six seconds
DEADLINES = {"head": HEAD_S, "body": BODY_S, "reader": STALL_S}
LATE_S = 1.0
LONG = b"HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n" + b"x" * 400_000  # more than the kernel takes for MSS
SHORT = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BEGINNINGS = {
    "head": b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ",
    "body": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n",
    "reader": b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n",
}
MSS = 1400  # as on a network: the kernel keeps megabytes for a peer that takes loopback's 64 KiB at a time
RATE = 100.0
READERS_MAX = 1000  # more of them measure how fast this module's own upstream writes
BATCH = 250  # connects at a time: a full accept queue would measure the kernel's patience


@dataclass
class Cut:
    """A herd's end: when the first and the last were cut, from its own beginning each (s), and how many were not in time."""

    kind: str
    count: int
    first_s: float
    last_s: float
    late: int


class SlowClient(asyncio.Protocol):
    """Knows when it began and when it was cut."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.began = self.cut = 0.0
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.began = time.monotonic()
        transport.write(BEGINNINGS[self.kind])
        if self.kind == "reader":
            asyncio.get_running_loop().call_soon(transport.pause_reading)  # asyncio begins to read after this call

    def connection_lost(self, _error: Exception | None) -> None:
        self.cut = self.cut or time.monotonic()

    def trickle(self) -> None:
        if self.kind != "reader" and not self.cut and not self.transport.is_closing():
            self.transport.write(b"x")


async def herd(kind: str, port: int, count: int, within_s: float) -> Cut:
    """Opens them, keeps them slow, and looks how long each lasted."""
    loop, clients = asyncio.get_running_loop(), [SlowClient(kind) for _ in range(count)]
    beating = loop.create_task(trickle(clients))
    for start in range(0, count, BATCH):
        batch = clients[start : start + BATCH]
        await asyncio.gather(*(connect(client, port) for client in batch))
    ends = max(c.began for c in clients) + within_s + LATE_S + 10
    while time.monotonic() < ends and not all(c.cut for c in clients):
        await asyncio.sleep(0.1)
        for client in clients:
            if kind == "reader" and not client.cut and is_reset(client):  # who does not read must ask
                client.cut = time.monotonic()
                client.began = client.cut - quiet_s(client)
    beating.cancel()
    lasted = [(c.cut or time.monotonic()) - c.began for c in clients]
    for client in clients:
        client.transport.abort()
    return Cut(kind, count, min(lasted), max(lasted), sum(s > within_s + LATE_S for s in lasted))


async def connect(client: SlowClient, port: int) -> None:
    """With a receive buffer that a long answer fills at once."""
    loop, sock = asyncio.get_running_loop(), socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, MSS)
    sock.setblocking(False)  # noqa: FBT003
    await loop.sock_connect(sock, ("127.0.0.1", port))
    await loop.create_connection(lambda: client, sock=sock)


def is_reset(client: SlowClient) -> bool:
    sock: socket.socket = client.transport.get_extra_info("socket")
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 104


def quiet_s(client: SlowClient) -> float:
    """Since when it has taken nothing: tcp_info's tcpi_last_data_recv, ms."""
    sock: socket.socket = client.transport.get_extra_info("socket")
    quiet_ms: int = struct.unpack_from("I", sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 56), 52)[0]
    return quiet_ms / 1000


async def trickle(clients: list[SlowClient]) -> None:
    while True:
        await asyncio.sleep(1)
        for client in clients:
            if client.began:
                client.trickle()


async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while head := await reader.readuntil(b"\r\n\r\n"):
            if head.startswith(b"POST"):
                await reader.readexactly(100_000)
            writer.write(LONG if head.startswith(b"GET /long") else SHORT)
            await writer.drain()
    writer.close()


async def good(port: int, seconds: float) -> Report:
    return await OpenLoop(f"http://127.0.0.1:{port}", RATE, seconds, path="/").run()


async def measure(kind: str, port: int, count: int) -> tuple[Cut, Report]:
    """A herd of one kind, and the good clients' report of the same time."""
    within_s = DEADLINES[kind]
    command = [sys.executable, "-m", "tests.load.slow_clients", "herd", kind, str(port), str(count), str(within_s)]
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    load = OpenLoop(f"http://127.0.0.1:{port}", RATE, 120, path="/")
    running = asyncio.ensure_future(load.run())
    out, _ = await process.communicate()
    load.stop()
    return Cut(**json.loads(out)), await running


@contextlib.asynccontextmanager
async def engine() -> AsyncIterator[int]:
    """The port of an engine before an upstream that answers shortly, or at length."""
    async with serving(upstream) as behind, proxy(behind, answer_stall_s=STALL_S) as found:
        yield found.port


async def main(count: int) -> None:
    async with engine() as port:
        await good(port, 2)
        base = await good(port, 10)
        print(json.dumps({"kind": "none", "good": len(base.ok), "failed": len(base.failed), "p99_ms": ms(base)}))
        for kind in DEADLINES:
            cut, report = await measure(kind, port, min(count, READERS_MAX) if kind == "reader" else count)
            found = {
                "good": len(report.ok),
                "failed": len(report.failed),
                "p50_ms": ms(report, 0.5),
                "p99_ms": ms(report),
            }
            print(json.dumps(asdict(cut) | found), flush=True)


def ms(report: Report, q: float = 0.99) -> float:
    return round(1000 * report.quantile(q), 2)


if __name__ == "__main__":
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if sys.argv[1:2] == ["herd"]:
        kind_, port_, count_, within_ = sys.argv[2:]
        print(json.dumps(asdict(asyncio.run(herd(kind_, int(port_), int(count_), float(within_))))))
    else:
        asyncio.run(main(min(int(sys.argv[1]) if sys.argv[1:] else 5000, (hard - 500) // 2)))
