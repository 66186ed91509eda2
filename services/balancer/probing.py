"""Active probes: `GET /ready` on each endpoint's data port, one loop per endpoint, sooner when something looked wrong.

Healthy: each HEALTH_INTERVAL ± 20 %, so that balancers do not probe in step. Otherwise twice a second, to be back soon.
At once after a failed connect, a try timeout, or an answer that closes its connection (a process that leaves says so
there first).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from random import uniform
from time import monotonic, time
from typing import Any, Final

from services.balancer.endpoints import HEALTHY, Endpoint
from services.balancer.fleet import Fleet
from services.http1.probe import Probe, probe
from services.runtime.tasks import spawn, stop

PATH: Final = b"/ready"
SPREAD: Final = 0.2
UNHEALTHY_PERIOD_S: Final = 0.5
GAP_S: Final = 0.1  # a burst of failures asks for one probe

Ask = Callable[[str, int, bytes, float], Awaitable[Probe]]


class Prober:
    def __init__(self, fleet: Fleet, interval_s: float, timeout_s: float, ask: Ask = probe) -> None:
        self._fleet = fleet
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._ask = ask
        self._loops: dict[Endpoint, asyncio.Task[None]] = {}

    def watch(self, endpoint: Endpoint) -> None:
        self._loops[endpoint] = spawn(self._watch(endpoint), name=f"probe {endpoint.id}")

    def forget(self, endpoint: Endpoint) -> None:
        loop = self._loops.pop(endpoint, None)
        if loop is not None:
            loop.cancel()

    async def stop(self) -> None:
        await stop(*self._loops.values())
        self._loops.clear()

    async def look(self, endpoint: Endpoint) -> None:
        """One probe, reported to the fleet."""
        info = endpoint.info
        found = await self._ask(info.host, info.port, PATH, self._timeout_s)
        endpoint.last_check = time()
        good = found.status == 200
        draining = found.status == 503 and says_draining(found.body)
        self._fleet.probed(endpoint, good, draining, found.failure or f"/ready answered {found.status}")

    async def _watch(self, endpoint: Endpoint) -> None:
        while True:
            endpoint.wake.clear()
            begun = monotonic()
            await self.look(endpoint)
            await asyncio.sleep(max(0.0, begun + GAP_S - monotonic()))
            await _either(endpoint.wake, self._period_s(endpoint))

    def _period_s(self, endpoint: Endpoint) -> float:
        if endpoint.state != HEALTHY:
            return min(UNHEALTHY_PERIOD_S, self._interval_s)
        return self._interval_s * uniform(1 - SPREAD, 1 + SPREAD)  # noqa: S311  # spread, not secrecy


def says_draining(body: bytes) -> bool:
    """Does a 503 of `/ready` mean that the process takes itself out? `checks.serving` is false then
    (runtime/process.py).
    """
    try:
        said: Any = json.loads(body)
    except (ValueError, RecursionError):
        return False
    if not isinstance(said, dict):
        return False
    checks = said.get("checks")
    return said.get("status") == "draining" or (isinstance(checks, dict) and checks.get("serving") is False)


async def _either(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
