"""Feels ten times a second how this process and its next hops are, and tells `shed` and `throttle`.

What is asked: the loop's lag, requests in flight, resident memory against the control group's limit (once a second).
While anything is shed the process is degraded (`overload`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Final

from services.core.pressure import Pressure, load
from services.core.throttle import Throttle
from services.gateway.stages.shed import Shed
from services.gateway.stages.throttle import ThrottleStage
from services.runtime.tasks import spawn, stop
from services.runtime.vitals import Degraded, memory_limit, rss_bytes
from services.schema.snapshot import QueueState, ShedState

PERIOD_S: Final = 0.1
MEMORY_S: Final = 1.0


class Overload:
    """`lag_ms` and `in_flight` are asked; `shed` and `throttle` are the stages that hear."""

    def __init__(
        self, shed: Shed, degraded: Degraded, lag_ms: Callable[[], float], in_flight: Callable[[], int]
    ) -> None:
        self.shed = shed
        self.next_hop = Throttle()
        self.throttle = ThrottleStage(self.next_hop)
        self._degraded, self._lag_ms, self._in_flight = degraded, lag_ms, in_flight
        self._pressure = Pressure(monotonic())
        self._memory_limit = memory_limit()
        self._memory = 0.0
        self._memory_at = 0.0
        self._before = (0, 0)
        self._rps = (0.0, 0.0)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = spawn(self._feel(), name="overload")

    async def stop(self) -> None:
        await stop(self._task)

    def tick(self, now: float) -> None:
        if now - self._memory_at >= MEMORY_S:
            self._memory, self._memory_at = rss_bytes() / self._memory_limit, now
        self.next_hop.refresh()
        self.shed.press(self._pressure.update(load(self._lag_ms(), self._in_flight(), self._memory), now))
        self._degraded.note("overload", bad=self.shed.level > 0)

    def roll(self, seconds: float) -> None:
        """A second is over: the rates of the snapshot."""
        now, before = (self.shed.refused, self.throttle.refused), self._before
        self._before = now
        self._rps = ((now[0] - before[0]) / seconds, (now[1] - before[1]) / seconds)

    def shed_state(self) -> ShedState:
        """Refused for lack of this process's own capacity."""
        return ShedState(self.shed.level, self._rps[0])

    def queue_state(self) -> QueueState:
        """Refused for lack of the next hop's."""
        return QueueState(refused_rps=self._rps[1])

    async def _feel(self) -> None:
        while True:
            await asyncio.sleep(PERIOD_S)
            self.tick(monotonic())
