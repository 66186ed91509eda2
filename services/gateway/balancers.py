"""The next hops: balancers by discovery, each with its pool of connections, picked by the same code as the balancer
picks apis.

Without breakers and probes (data-path.md section 7): a balancer that cannot be reached goes out of the draws for a
growing moment (connect backoff), and comes back by itself. `Endpoint` objects are kept by address when the set
changes, so what is in flight stays counted. A balancer that discovery or a drain by hand calls draining gets nothing
new, unless nothing else is there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from random import random

from services.core.balancing import P2C, REFRESH_S, SLOW_START_S, Chooser, Target
from services.http1.heads import Names
from services.http1.limits import Deadlines, Limits
from services.http1.pool import Pool
from services.runtime.endpoints import EndpointInfo
from services.runtime.tasks import spawn, stop
from services.schema.snapshot import EndpointState

MakePool = Callable[[str, int, Callable[[bool], None]], Pool]


class Endpoint(Target):
    """One balancer. `drained_until`: monotonic end of a drain by hand."""

    __slots__ = ("drained_until", "info", "pool", "requests")

    def __init__(self, info: EndpointInfo, make: MakePool, now: float, *, warm: bool) -> None:
        super().__init__(info.id, info.weight, now)
        self.info = info
        self.pool = make(info.host, info.port, self.connected)
        self.probation = False  # there are no probes here: the first request is the probe
        if warm:
            self.ready_at = now - SLOW_START_S
        self.drained_until = 0.0
        self.requests = 0

    def connected(self, ok: bool) -> None:
        """The pool has tried to connect."""
        self.blocked_until = 0.0 if ok else self.pool.backoff_until

    def state(self, now: float) -> str:
        if self.info.draining or now < self.drained_until:
            return "draining"
        return "unhealthy" if now < self.blocked_until else "healthy"


class Balancers:
    def __init__(self, limits: Limits, deadlines: Deadlines, names: Names) -> None:
        self._limits, self._deadlines, self._names = limits, deadlines, names
        self._chooser = Chooser(P2C)
        self._task: asyncio.Task[None] | None = None
        self.endpoints: tuple[Endpoint, ...] = ()

    def start(self) -> None:
        self._task = spawn(self._refresh(), name="balancers")

    async def stop(self) -> None:
        await stop(self._task)
        for endpoint in self.endpoints:
            endpoint.pool.close()

    def use(self, found: tuple[EndpointInfo, ...]) -> None:
        """Discovery's new set. Those that stay keep their pools and counts; those that go finish what they carry."""
        now = time.monotonic()
        known = {(endpoint.info.host, endpoint.info.port): endpoint for endpoint in self.endpoints}
        warm = not known
        endpoints = []
        for info in found:
            endpoint = known.pop((info.host, info.port), None)
            if endpoint is None:
                endpoint = Endpoint(info, self._pool, now, warm=warm)
            endpoint.info, endpoint.id, endpoint.weight = info, info.id, info.weight
            endpoints.append(endpoint)
        self.endpoints = tuple(endpoints)
        for gone in known.values():
            gone.pool.retire()
        self._choose(now)

    def pick(self, now: float, excluded: tuple[Target, ...]) -> Endpoint | None:
        found = self._chooser.pick(now, random(), random(), excluded)  # noqa: S311  # load balancing
        return found if isinstance(found, Endpoint) else None

    def reachable(self, now: float) -> bool:
        """Is there one that requests may go to?"""
        return any(endpoint.state(now) == "healthy" for endpoint in self.endpoints)

    def soonest_s(self, now: float) -> float:
        return self._chooser.soonest_s(now)

    def drain(self, endpoint_id: str, seconds: float) -> Endpoint | None:
        """No new requests for that long (0: again at once); None for an unknown id."""
        endpoint = next((endpoint for endpoint in self.endpoints if endpoint.id == endpoint_id), None)
        if endpoint is not None:
            now = time.monotonic()
            if not seconds and now < endpoint.drained_until:
                endpoint.ready_at = now  # slow start
            endpoint.drained_until = now + seconds if seconds else 0.0
            self._choose(now)
        return endpoint

    def states(self) -> tuple[EndpointState, ...]:
        now = time.monotonic()
        return tuple(EndpointState(endpoint.id, endpoint.state(now)) for endpoint in self.endpoints)

    def _pool(self, host: str, port: int, on_connect: Callable[[bool], None]) -> Pool:
        return Pool(host, port, self._limits, self._deadlines, names=self._names, on_connect=on_connect)

    def _choose(self, now: float) -> None:
        taken = [endpoint for endpoint in self.endpoints if endpoint.state(now) != "draining"]
        self._chooser.replace(taken or self.endpoints, now)

    async def _refresh(self) -> None:
        """Ten times a second: units and eligibility of the draws; drains by hand that have ended."""
        while True:
            await asyncio.sleep(REFRESH_S)
            now = time.monotonic()
            if any(endpoint.drained_until for endpoint in self.endpoints):
                for endpoint in self.endpoints:
                    if endpoint.drained_until and now >= endpoint.drained_until:
                        endpoint.drained_until, endpoint.ready_at = 0.0, now
                self._choose(now)
            else:
                self._chooser.refresh(now)
