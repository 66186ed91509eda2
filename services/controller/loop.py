"""The controller's loop: every object is visited once a second, sooner after a change (operator.md §9).

A visit that fails is logged and the next one starts from what is there. Started by `scalable-api up` here, by the
operator on Kubernetes; they differ in the `Backend`. What a visit does: controller.visit.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from services.controller.backend import Api, Backend, Key
from services.controller.events import EventFilter
from services.controller.mind import Mind
from services.controller.pods import ControlPorts
from services.controller.prometheus import Numbers, PrometheusServers
from services.controller.visit import Visitor
from services.runtime.log import get_log
from services.runtime.tasks import spawn

TICK_S: Final = 1.0
BATCH_S: Final = 0.1
"""Changes come in bunches; a tick takes them together."""

log = get_log(__name__)


def steady_clock() -> Callable[[], int]:
    """Milliseconds since 1970 that never jump: the wall clock once, then the monotonic one."""
    start = time.time() - time.monotonic()
    return lambda: round((start + time.monotonic()) * 1000)


class Controller:
    """`run` until cancelled; `tick` is one visit to every object."""

    def __init__(
        self,
        backend: Backend,
        ports: ControlPorts,
        *,
        version: str,
        numbers: Numbers | None = None,
        now_ms: Callable[[], int] | None = None,
    ) -> None:
        self._backend = backend
        self._now_ms = now_ms or steady_clock()
        self._minds: dict[Key, Mind] = {}
        self._visitor = Visitor(backend, ports, version, EventFilter(), numbers or PrometheusServers({}))

    async def run(self) -> None:
        """Forever; cancelling is the way out, and takes effect between two ticks: none is cut in half."""
        while True:
            started = time.monotonic()
            tick = spawn(self.tick(), name="tick")
            try:
                await asyncio.shield(tick)
            except asyncio.CancelledError:
                await tick
                raise
            left = TICK_S - (time.monotonic() - started)
            if await self._backend.changed(max(BATCH_S, left)):
                await asyncio.sleep(BATCH_S)

    async def tick(self) -> None:
        """Visit every object; one that fails does not keep the others waiting."""
        apis = self._backend.apis()
        for key in set(self._minds) - set(apis):
            del self._minds[key]
        for key, api in apis.items():
            await self._visit(key, api)

    async def _visit(self, key: Key, api: Api) -> None:
        try:
            await self._visitor.visit(self._now_ms(), api, self._minds.setdefault(key, Mind()))
        except Exception:
            log.exception("tick failed", object=api.name)
