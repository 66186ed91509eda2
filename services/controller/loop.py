"""The controller's loop: every object is visited once a second, sooner after a change of its own (operator.md §9).

Visits run side by side, never two of one object; a change that arrives during a visit is followed by another. A visit
that fails is logged and the next one starts from what is there. Started by `scalable-api up` here, by the operator on
Kubernetes; they differ in the `Backend`. What a visit does: controller.visit.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any, Final

from services.controller.backend import Backend, Key
from services.controller.events import EventFilter
from services.controller.meters import MeteredPorts, Meters
from services.controller.mind import Mind
from services.controller.pace import MAX_STRETCH, Load, Pace, pace
from services.controller.pods import ControlPorts
from services.controller.prometheus import Numbers, PrometheusServers
from services.controller.status import record_to_status
from services.controller.visit import Visitor
from services.runtime.log import get_log
from services.runtime.metrics import Metrics
from services.runtime.tasks import spawn

TICK_S: Final = 1.0
JITTER: Final = 0.1
"""Visits of many objects spread over the second by themselves."""
STRETCHED_JITTER: Final = 0.5
"""Those that wait for each other must not come all at once, which they do after a start."""
BATCH_S: Final = 0.1
"""Changes come in bunches; a visit takes them together."""
LOOK_S: Final = 0.02
"""Between two looks at who is due: of a thousand objects one comes every millisecond."""
PARALLEL: Final = 64
LATE_S: Final = 15.0
"""Without a finished visit for so long a probe ends us: another will do better."""
POLLS_PER_SECOND: Final = 500

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
        polls_per_second: int = POLLS_PER_SECOND,
        metrics: Metrics | None = None,
        now_ms: Callable[[], int] | None = None,
    ) -> None:
        self._backend, self._polls_per_second = backend, polls_per_second
        self.now_ms = now_ms or steady_clock()
        self.minds: dict[Key, Mind] = {}
        self.meters = Meters(version, metrics)
        self.meters.watch(self)
        self._loads: dict[Key, Load] = {}
        self._due_s: dict[Key, float] = {}
        self._visits: dict[Key, asyncio.Task[None]] = {}
        self._again: set[Key] = set()
        self._slots = asyncio.Semaphore(PARALLEL)
        self._visitor = Visitor(
            backend,
            MeteredPorts(ports, self.meters),
            version,
            EventFilter(),
            numbers or PrometheusServers({}),
            self.meters,
        )
        self.pace, self._paced_s = Pace(), 0.0
        self._passed_s = time.monotonic()

    def late(self) -> bool:
        """No pass was finished for too long, although we are the one who acts."""
        return self._backend.may_write() and time.monotonic() - self._passed_s > LATE_S

    async def token(self, namespace: str, name: str) -> str:
        """The control token of an object, '' if there is none of that name."""
        for api in self._backend.apis().values():
            if (api.namespace, api.name) == (namespace, name):
                return await self._backend.token(api, refresh=False)
        return ""

    def explain(self, namespace: str, name: str) -> dict[str, dict[str, Any]]:
        """This second's decision by component, as `status.components[].lastDecision` would show it."""
        return {
            component: record_to_status(decision.record, mind.generation).model_dump(by_alias=True, exclude_none=True)
            for mind in self.minds.values()
            if (mind.namespace, mind.name) == (namespace, name)
            for component, decision in mind.decisions.items()
        }

    async def run(self) -> None:
        """Forever; cancelling is the way out, and takes effect between two visits: none is cut in half."""
        dirty: set[Key] = set()
        try:
            while True:
                self._start_due(time.monotonic(), dirty)
                left = min(self._due_s.values(), default=0) - time.monotonic()
                dirty = await self._backend.changed(min(TICK_S, max(LOOK_S, left)))
                if dirty:
                    await asyncio.sleep(BATCH_S)
        finally:
            await asyncio.gather(*self._visits.values())

    async def tick(self) -> None:
        """Visit every object."""
        self._forget()
        await asyncio.gather(*(self._visit(key) for key in self._backend.apis()))

    def _start_due(self, now_s: float, dirty: set[Key]) -> None:
        self._forget()
        if now_s - self._paced_s >= TICK_S:
            self.pace, self._paced_s = pace(self._loads.values(), self._polls_per_second), now_s
        if not self._visits:
            self._passed_s = now_s
        for key in self._backend.apis():
            if key not in dirty and now_s < self._due_s.get(key, 0):
                continue
            self._due_s[key] = now_s + self._interval_s(key)
            if key not in self._visits:
                self._visits[key] = spawn(self._visit_in_turn(key), name="visit")
            elif key in dirty:
                self._again.add(key)

    def _interval_s(self, key: Key) -> float:
        load = self._loads.get(key)
        stretch = self.pace.stretch if load and load.idle else 1.0
        spread = JITTER if stretch <= 1 else STRETCHED_JITTER
        return TICK_S * min(MAX_STRETCH, stretch * random.uniform(1 - spread, 1 + spread))  # noqa: S311  # no secret

    def _forget(self) -> None:
        """Objects that are gone."""
        apis = self._backend.apis()
        for key in self.minds.keys() - apis.keys():
            spawn(self._part(self.minds.pop(key), self._visits.get(key)), name="part")
        for known in (self._loads, self._due_s):
            for key in known.keys() - apis.keys():
                del known[key]

    async def _visit_in_turn(self, key: Key) -> None:
        try:
            async with self._slots:
                await self._visit(key)
                while key in self._again:
                    self._again.discard(key)
                    await self._visit(key)
        finally:
            del self._visits[key]

    async def _part(self, mind: Mind, visit: asyncio.Task[None] | None) -> None:
        """After the visit that may still be under way."""
        if visit is not None:
            await asyncio.wait({visit})
        await self._visitor.part(mind)

    async def _visit(self, key: Key) -> None:
        """One that fails does not end the others."""
        api = self._backend.apis().get(key)
        if api is None:
            return
        try:
            mind = self.minds.setdefault(key, Mind())
            self._loads[key] = await self._visitor.visit(self.now_ms(), api, mind, self.pace)
            self._passed_s = time.monotonic()
        except Exception:
            self.meters.errors.inc("visit")
            log.exception("tick failed", object=api.name)
