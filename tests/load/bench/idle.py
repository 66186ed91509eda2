"""What an idle keep-alive connection costs its proxy in resident memory. Called by __main__.

The process is a fresh one: memory that earlier load has freed would be filled first, and the connections would look cheap.
"""

from __future__ import annotations

import contextlib
import resource
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from math import ceil
from typing import Final

from services.http1.limits import connections_max
from services.http1.listener import CROWDED
from tests.harness.fleet import Fleet
from tests.harness.wait import eventually
from tests.load.bench import proc
from tests.load.bench.peers import PATH, Peers
from tests.load.bench.processes import placed
from tests.load.bench.scenarios import Idle, Lane
from tests.load.bench.wrk import LoadError

WANTED: Final = 8_900  # a process that takes 10 000 lets idle ones go from 9 000 on
FIRST: Final = 100  # before the first look: what the process needs for its first connections is not theirs
SPARE: Final = 500  # descriptors for everything else, here and in the proxy
ACCEPTED_S: Final = 10.0
ASK: Final = f"GET {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\n\r\n".encode()


@dataclass(frozen=True, slots=True)
class Held:
    connections: int
    rss_kib: int
    each_kib: float


def raise_descriptors() -> None:
    """As far as we may, for us and, by inheritance, for every proxy."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def count(descriptors: int) -> int:
    """How many connections so many descriptors allow; 0 where it says nothing worth knowing."""
    return max(0, min(WANTED, descriptors - SPARE, ceil(CROWDED * connections_max(descriptors)) - FIRST))


async def held(row: Idle, peers: Peers, fleet: Fleet) -> Held:
    """Opens them, looks, closes them."""
    number = count(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    if number <= FIRST:
        raise LoadError(f"too few descriptors; raise them: ulimit -n {WANTED + SPARE}")
    async with _fresh(row, peers, fleet) as lane:
        with contextlib.ExitStack() as sockets:
            pids = proc.tree(lane.pid)
            base = proc.descriptors(pids)
            await _open(sockets, lane.port, FIRST, base, pids, asked=row.asked)
            before = proc.rss_kib(pids)
            await _open(sockets, lane.port, number - FIRST, base + FIRST, pids, asked=row.asked)
            after = proc.rss_kib(pids)
    return Held(number, after, (after - before) / (number - FIRST))


@contextlib.asynccontextmanager
async def _fresh(row: Idle, peers: Peers, fleet: Fleet) -> AsyncIterator[Lane]:
    if row.lane == "nginx":
        lane = peers.idle_nginx()
        try:
            yield lane
        finally:
            peers.processes.stop("nginx-idle")
        return
    with placed(frozenset({peers.cores.proxy})):
        node = await fleet.start("balancer")
    try:
        yield Lane(node.port, node.pid)
    finally:
        await fleet.kill(node)


async def _open(
    sockets: contextlib.ExitStack, port: int, number: int, base: int, pids: list[int], *, asked: bool
) -> None:
    """Returns when the proxy has accepted them all (descriptors above `base`), each answered once if `asked`."""
    for _ in range(number):
        sock = sockets.enter_context(socket.create_connection(("127.0.0.1", port), 5))
        if asked:
            sock.sendall(ASK)
            if not sock.recv(4096).startswith(b"HTTP/1.1 200"):
                raise LoadError("the one request before idling was not answered 200")
    await eventually(lambda: proc.descriptors(pids) >= base + number, ACCEPTED_S, f"{number} connections are accepted")
