"""A Redis Cluster of two Valkeys on free loopback ports, half of the slots each."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis.asyncio as aioredis

from services.cli.embedded import valkey
from services.runtime.redis_cluster import SLOTS
from tests.harness.stores import folder
from tests.harness.wait import eventually

START_S = 20.0


@dataclass(slots=True)
class ClusterNode:
    port: int
    process: subprocess.Popen[bytes]
    client: aioredis.Redis

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    async def run(self, *command: Any) -> Any:
        return await self.client.execute_command(*command)  # type: ignore[no-untyped-call]

    async def whole(self) -> bool:
        found: dict[str, str] = await self.run("CLUSTER INFO")  # redis-py makes a dict of it
        return found["cluster_state"] == "ok"


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def start(path: Path, port: int, bus: int) -> ClusterNode:
    binary = valkey.find()
    assert binary is not None
    path.mkdir()
    lines = ["bind 127.0.0.1", f"port {port}", "cluster-enabled yes", f"cluster-port {bus}", 'save ""', f"dir {path}"]
    process = subprocess.Popen([binary.path, "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert process.stdin is not None
    process.stdin.write("\n".join(lines).encode())
    process.stdin.close()
    return ClusterNode(port, process, aioredis.Redis(host="127.0.0.1", port=port, protocol=2))


@contextlib.asynccontextmanager
async def valkey_cluster() -> AsyncIterator[list[ClusterNode]]:
    ports = free_ports(4)
    with folder("sapi-cluster-") as path:
        nodes = [start(path / str(i), ports[i], ports[i + 2]) for i in range(2)]
        try:
            half = SLOTS // 2
            for node, first, last in ((nodes[0], 0, half - 1), (nodes[1], half, SLOTS - 1)):
                await eventually(node.client.ping, START_S, "a node answers")
                await node.run("CLUSTER", "ADDSLOTSRANGE", first, last)
            await nodes[0].run("CLUSTER", "MEET", "127.0.0.1", ports[1], ports[3])
            for node in nodes:
                await eventually(node.whole, START_S, "the cluster is whole")
            yield nodes
        finally:
            for node in nodes:
                await node.client.aclose()
                node.process.kill()
            await asyncio.gather(*(asyncio.to_thread(node.process.wait) for node in nodes))
