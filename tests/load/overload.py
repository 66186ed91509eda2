"""A balancer before endpoints of a fixed capacity, from less than it to ten times as much, with clients that retry.

`python -m tests.load.overload` runs all steps and prints a table; tests/integration/test_overload.py runs a short form.
One of twenty requests is critical-plus. A refused client does what clients do: it asks again at once, once.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import random
from typing import Final

from tests.harness.http import Connection, Reply, request
from tests.integration.test_balancer import Balancer
from tests.integration.upstreams import UpstreamProcess

ENDPOINTS: Final = 2
PLACES: Final = 2  # each
SERVICE_S: Final = 0.08
CAPACITY: Final = ENDPOINTS * PLACES / SERVICE_S  # requests a second
IMPORTANT_EACH: Final = 20
TRIES: Final = 2
STEPS: Final = ((0.8, 4.0), (1.0, 4.0), (2.0, 4.0), (5.0, 4.0), (10.0, 8.0), (0.8, 2.0), (0.8, 3.0))
TIMEOUT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Try:
    status: int
    seconds: float
    important: bool
    last: bool


@dataclass(slots=True)
class Step:
    """What came of offering `factor` times the capacity for `seconds`."""

    factor: float
    seconds: float
    tries: list[Try] = field(default_factory=list)

    @property
    def goodput(self) -> float:
        """Good answers a second."""
        return sum(one.status == 200 for one in self.tries) / self.seconds

    @property
    def refused(self) -> int:
        return sum(one.status == 503 for one in self.tries)

    @property
    def important_lost(self) -> int:
        """critical-plus requests that had no good answer in the end."""
        return sum(one.important and one.last and one.status != 200 for one in self.tries)

    @property
    def lost(self) -> int:
        return sum(one.last and one.status != 200 for one in self.tries)

    def quantile_ms(self, q: float, status: int) -> float:
        times = sorted(one.seconds for one in self.tries if one.status == status)
        return 1000 * times[min(len(times) - 1, int(q * len(times)))] if times else 0.0

    def __str__(self) -> str:
        return (
            f"{self.factor:5.1f} x  {len(self.tries) / self.seconds:7.0f} tries/s  {self.goodput:6.1f} good/s  "
            f"refused p50 {self.quantile_ms(0.5, 503):6.1f} p99 {self.quantile_ms(0.99, 503):6.1f} ms  "
            f"good p50 {self.quantile_ms(0.5, 200):6.1f} p99 {self.quantile_ms(0.99, 200):6.1f} ms  "
            f"critical-plus lost {self.important_lost}, others {self.lost - self.important_lost}"
        )


class Clients:
    """Open loop: a request is due when it is due, whatever became of those before."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[Connection] = []

    async def offer(self, factor: float, seconds: float) -> Step:
        step = Step(factor, seconds)
        loop = asyncio.get_running_loop()
        start, rate = loop.time(), factor * CAPACITY
        async with asyncio.TaskGroup() as group:
            for number in range(int(rate * seconds)):
                if (early := start + number / rate - loop.time()) > 0:
                    await asyncio.sleep(early)
                group.create_task(self._insist(step, important=number % IMPORTANT_EACH == 0))
        return step

    def close(self) -> None:
        for connection in self._idle:
            connection.close()

    async def _insist(self, step: Step, *, important: bool) -> None:
        data = request("GET", "/x", {"x-gateway-class": "critical-plus" if important else "sheddable"}, b"")
        loop = asyncio.get_running_loop()
        for left in reversed(range(TRIES)):
            begun = loop.time()
            status = (await self._send(data)).status
            last = status == 200 or not left
            step.tries.append(Try(status, loop.time() - begun, important, last))
            if last:
                return
            await asyncio.sleep(0.05 * random())

    async def _send(self, data: bytes) -> Reply:
        connection = self._idle.pop() if self._idle else None
        try:
            if connection is None or connection.closed:
                connection = await Connection.open("127.0.0.1", self._port)
            reply = await connection.send(data, TIMEOUT_S)
        except OSError:
            return Reply()
        if not connection.closed:
            self._idle.append(connection)
        return reply


async def play(folder: Path, steps: Sequence[tuple[float, float]]) -> list[Step]:
    """Each step in turn, on one balancer over ENDPOINTS fresh processes."""
    found = []
    async with AsyncExitStack() as stack:
        apis = [UpstreamProcess(f"api-{number}", PLACES, SERVICE_S) for number in range(ENDPOINTS)]
        for api in apis:
            await stack.enter_async_context(api)
        balancer = await stack.enter_async_context(Balancer(folder, apis, {}))
        await balancer.healthy(ENDPOINTS)
        clients = Clients(balancer.node.port)
        for factor, seconds in steps:
            found.append(await clients.offer(factor, seconds))
            print(found[-1], flush=True)
        clients.close()
    return found


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        print(f"capacity {CAPACITY:.0f}/s")
        asyncio.run(play(Path(made), STEPS))
