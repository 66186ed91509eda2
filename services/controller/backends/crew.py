"""The processes of one component: as many as it was told, replaced the moment one ends, ended only when marked.

A process that ends unasked is started again at once under its name; one that keeps ending within a minute waits 1, 2,
4 … 30 s between attempts, and its pod says why. Readiness is asked of its control port. Caller: backends.processes.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import httpx

from services.controller.backend import Conflict, Done, Event, Outcome, Pod, Unchanged, Workload
from services.controller.backends.launch import Child, Launcher
from services.runtime.http_client import ControlClient, ControlError
from services.runtime.tasks import spawn

LONG_LIFE_S: Final = 60.0
"""A process that lived this long did not fail to start: the next attempt is free."""
MAX_WAIT_S: Final = 30.0
KILL_AFTER_S: Final = 10.0
"""Beyond `drain.timeout`: a process that has not ended by then does not end by itself."""
PROBE_NEW_S: Final = 0.05
PROBE_S: Final = 0.5
MUTE_PROBES: Final = 3
"""So many probes without an answer make a process unready: one may be lost on a busy machine."""


@dataclass(slots=True)
class Slot:
    """A name, and the process that has it now."""

    name: str
    child: Child | None = None
    started_s: float = 0.0
    ready: bool = False
    was_ready: bool = False
    draining: bool = False
    deleting: bool = False
    restarts: int = 0
    failures: int = 0
    reason: str = ""
    last_lines: str = ""
    version: str = ""
    timer: asyncio.TimerHandle | None = None

    @property
    def uid(self) -> str:
        return f"{self.name}.{self.child.pid if self.child else 'pending'}"


@dataclass(slots=True)
class Surroundings:
    """What crews share. `changed` is called after every change; `tell` takes events."""

    launcher: Launcher
    environment: Callable[[str], Mapping[str, str]]
    token: Callable[[], str]
    http: httpx.AsyncClient
    changed: Callable[[str], None]
    tell: Callable[[Event], None]
    epoch_ms: float = field(default_factory=lambda: (time.time() - time.monotonic()) * 1000)


class Crew:
    """One component's processes."""

    def __init__(self, component: str, around: Surroundings) -> None:
        self.component, self._around = component, around
        self.slots: dict[str, Slot] = {}
        self.replicas = 0
        self._version = 1
        self._marked: frozenset[str] = frozenset()
        self._closing = False
        self._probes: set[asyncio.Task[None]] = set()

    # ---------------------------------------------------------------------------------------------- what is there

    def workload(self) -> Workload:
        """As the controller sees it."""
        pods = tuple(self._pod(slot) for slot in self.slots.values())
        return Workload(self.replicas, str(self._version), f"Process/{self.component}", pods=pods)

    def _pod(self, slot: Slot) -> Pod:
        child = slot.child
        phase: Literal["Pending", "Running", "Failed"] = "Running" if child else "Failed" if slot.reason else "Pending"
        return Pod(
            uid=slot.uid,
            name=slot.name,
            phase=phase,
            ready=slot.ready and not slot.deleting,
            starting=child is not None and not slot.was_ready,
            deleting=slot.deleting,
            started_at_ms=round(self._around.epoch_ms + slot.started_s * 1000),
            control_url=_control_url(child),
            node="local",
            restarts=slot.restarts,
            reason=slot.reason,
        )

    def endpoints(self) -> list[dict[str, Any]]:
        """The endpoints file's entries: whoever listens, ready or not; probes are the reader's."""
        return [
            {
                "id": slot.name,
                "host": "127.0.0.1",
                "port": slot.child.hello.port,
                "controlUrl": _control_url(slot.child),
                "weight": 1,
                "version": slot.version,
                "draining": slot.draining or slot.deleting,
            }
            for slot in self.slots.values()
            if slot.child and slot.child.hello
        ]

    def children(self) -> list[Child]:
        """Those that have not ended."""
        return [slot.child for slot in self.slots.values() if slot.child]

    # ------------------------------------------------------------------------------------------------ what is told

    def mark(self, uids: frozenset[str]) -> Outcome:
        """These go at the next decrease, and no others."""
        if uids == self._marked:
            return Unchanged()
        self._marked = uids
        return Done()

    def scale(self, replicas: int, seen: str, drain_timeout_s: float) -> Outcome:
        """Start what is missing, or end exactly the marked ones: fewer marks than needed are a conflict."""
        if seen != str(self._version):
            return Conflict()
        if replicas == self.replicas:
            return Unchanged()
        staying = [slot for slot in self.slots.values() if not slot.deleting]
        going = [slot for slot in staying if slot.uid in self._marked][: max(0, len(staying) - replicas)]
        if len(going) < len(staying) - replicas:
            return Conflict()
        self.replicas, self._marked, self._version = replicas, frozenset(), self._version + 1
        for slot in going:
            self._end(slot, drain_timeout_s)
        self._fill()
        self._around.changed(self.component)
        return Done()

    def stop(self) -> list[Child]:
        """SIGTERM to all, and no more replacements; returns those to wait for."""
        self._closing = True
        for slot in list(self.slots.values()):
            self._end(slot, None)
        self._around.changed(self.component)
        return self.children()

    async def probed(self) -> None:
        """Wait until nobody asks any more: after the processes have ended, before the connections are closed."""
        await asyncio.gather(*self._probes)

    # ------------------------------------------------------------------------------------------------- how it goes

    def _fill(self) -> None:
        while sum(not slot.deleting for slot in self.slots.values()) < self.replicas:
            number = next(n for n in range(1, 2 + len(self.slots)) if f"{self.component}-{n}" not in self.slots)
            slot = Slot(f"{self.component}-{number}")
            self.slots[slot.name] = slot
            self._start(slot)

    def _start(self, slot: Slot) -> None:
        slot.started_s, slot.timer, slot.ready, slot.was_ready, slot.draining = (
            time.monotonic(),
            None,
            False,
            False,
            False,
        )
        env = self._around.environment(self.component)
        try:
            slot.child = self._around.launcher.start(
                self.component, slot.name, env, lambda child: self._noticed(slot, child)
            )
        except OSError as error:
            self._failed(slot, f"cannot be started: {error}")
        self._around.changed(self.component)

    def _noticed(self, slot: Slot, child: Child) -> None:
        """It listens, or it has ended."""
        if child is not slot.child:
            return
        if child.code is None:
            probe = spawn(self._probe(slot, child), name=f"probe {slot.name}")
            self._probes.add(probe)
            probe.add_done_callback(self._probes.discard)
        else:
            self._ended(slot, child)
        self._around.changed(self.component)

    def _ended(self, slot: Slot, child: Child) -> None:
        slot.child, slot.ready = None, False
        if slot.timer:
            slot.timer.cancel()
        if slot.deleting or self._closing:
            del self.slots[slot.name]
            return
        slot.last_lines = child.last_lines()
        last = slot.last_lines.splitlines()[-1:] if child.code and child.code > 0 else []
        self._failed(slot, f"ended with {_code(child.code)}" + (f": {last[0][:120]}" if last else ""))

    def _failed(self, slot: Slot, reason: str) -> None:
        if time.monotonic() - slot.started_s >= LONG_LIFE_S:
            slot.failures = 0
        wait_s = min(MAX_WAIT_S, 2.0 ** (slot.failures - 1)) if slot.failures else 0.0
        slot.failures += 1
        slot.restarts += 1
        slot.reason = reason
        again = f"again in {wait_s:g} s" if wait_s else "started again"
        self._around.tell(Event("Warning", "PodReplaced", f"{slot.name} {reason}; {again}", slot.name))
        slot.timer = asyncio.get_running_loop().call_later(wait_s, self._start, slot)

    def _end(self, slot: Slot, drain_timeout_s: float | None) -> None:
        slot.deleting = True
        if slot.child is None:
            if slot.timer:
                slot.timer.cancel()
            del self.slots[slot.name]
            return
        slot.child.terminate()
        if drain_timeout_s is not None:
            loop = asyncio.get_running_loop()
            slot.timer = loop.call_later(drain_timeout_s + KILL_AFTER_S, slot.child.kill)

    async def _probe(self, slot: Slot, child: Child) -> None:
        """Readiness, from the process itself, until it has ended."""
        mute = 0
        while slot.child is child and child.code is None:
            control = ControlClient(_control_url(child), self._around.token(), http=self._around.http, timeout_s=1.0)
            before = (slot.ready, slot.draining, slot.version)
            try:
                snapshot, why = await control.snapshot(), ""
            except ControlError as error:
                snapshot, why = None, f"control port: {error}"[:200]
            if slot.child is not child:  # the answer of one that has ended meanwhile
                return
            if snapshot:
                mute, slot.reason = 0, "" if snapshot.ready else slot.reason
                slot.ready, slot.draining, slot.version = snapshot.ready, snapshot.draining, snapshot.version
                slot.was_ready = slot.was_ready or snapshot.ready
            elif (mute := mute + 1) >= MUTE_PROBES:
                slot.ready, slot.reason = False, why
            if before != (slot.ready, slot.draining, slot.version):
                self._around.changed(self.component)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PROBE_S if slot.was_ready else PROBE_NEW_S):
                    await child.ended.wait()


def _control_url(child: Child | None) -> str:
    return f"http://127.0.0.1:{child.hello.control_port}" if child and child.hello else ""


def _code(code: int | None) -> str:
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"


def ready_all(crews: Iterable[Crew]) -> bool:
    """Has every process that should be there become ready?"""
    return all(crew.slots and all(slot.ready for slot in crew.slots.values() if not slot.deleting) for crew in crews)
