"""One container: a process of this checkout, started, probed, restarted after a pause that grows, ended by SIGTERM, then SIGKILL.

Caller: pod.py, which says what the process is given.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx

from services.cli.embedded.child import spawn as start_child
from services.runtime.tasks import spawn, stop
from tests.cluster.kubelet.probes import ask, probing, url_of
from tests.cluster.kubelet.spec import NotPlayedError, NotYetError

Object = dict[str, Any]
LOOK_AGAIN_S: Final = 0.2
PAUSE_S: Final = 1.0  # the kubelet's is ten seconds; the first restart comes at once in both
PAUSE_MAX_S: Final = 30.0
WELL_S: Final = 60.0  # after so long alive a crash counts as the first again


@dataclass(frozen=True, slots=True)
class Launch:
    """What to start."""

    argv: Sequence[str]
    environment: Mapping[str, str]


@dataclass(slots=True)
class Container:
    """`prepare` resolves its spec; `changed` is called after each change of what `status` tells."""

    spec: Object
    ip: str
    log: Path
    http: httpx.AsyncClient
    prepare: Callable[[], Launch]
    changed: Callable[[], None]
    policy: str = "Always"
    grace_s: float = 30.0
    ready: bool = False
    started: bool = False
    restarts: int = 0
    state: Object = field(default_factory=lambda: {"waiting": {"reason": "ContainerCreating"}})
    last: Object = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _crashes: int = 0

    @property
    def running(self) -> bool:
        return "running" in self.state

    @property
    def code(self) -> int | None:
        """The exit code of one that has ended."""
        over: Object = self.state.get("terminated", {})
        return over.get("exitCode")

    def status(self) -> Object:
        pid = self.process.pid if self.process else 0
        own = {"name": self.spec["name"], "image": self.spec["image"], "imageID": "", "containerID": f"process://{pid}"}
        return own | {
            "ready": self.ready,
            "started": self.started,
            "restartCount": self.restarts,
            "state": self.state,
            "lastState": self.last,
        }

    async def run(self) -> None:
        """Until it has ended for good: stopped, or as its pod's restart policy says."""
        while await self._start():
            code, seconds = await self._live()
            if self.stopping.is_set() or self.policy == "Never" or (self.policy == "OnFailure" and code == 0):
                return
            self._crashes = 1 if seconds > WELL_S else self._crashes + 1
            await self._pause()
            self.restarts += 1

    async def stop(self, grace_s: float) -> None:
        """SIGTERM, after `grace_s` SIGKILL; returns once the process is gone."""
        self.stopping.set()
        if self.process is not None and self.process.poll() is None:
            self._signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await exited(self.process)
        await self.kill()

    async def kill(self) -> None:
        """At once, with all it has started."""
        self.stopping.set()
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            await exited(self.process)

    async def _start(self) -> bool:
        """Waits for what its spec refers to; False if it was stopped meanwhile."""
        while not self.stopping.is_set():
            try:
                launch = self.prepare()
            except (NotYetError, NotPlayedError) as error:
                played = isinstance(error, NotYetError)
                self._is(
                    waiting={
                        "reason": "CreateContainerConfigError" if played else "ErrImagePull",
                        "message": str(error),
                    }
                )
                await asyncio.sleep(LOOK_AGAIN_S)
                continue
            self.process = start_child(launch.argv, self.log, death=signal.SIGKILL, env=launch.environment)
            self._is(running={"startedAt": now()})
            return True
        return False

    async def _live(self) -> tuple[int, float]:
        """Exit code and seconds of one life."""
        assert self.process is not None
        begun, started_at = time.monotonic(), self.state["running"]["startedAt"]
        probes = spawn(self._probe(), name=f"probes {self.log.stem}")
        try:
            code = await exited(self.process)
        finally:
            await stop(probes)
        self.ready = self.started = False
        over: Object = {"exitCode": code if code >= 0 else 128 - code, "reason": "Completed" if code == 0 else "Error"}
        self._is(terminated=over | {"startedAt": started_at, "finishedAt": now()})
        return code, time.monotonic() - begun

    async def _pause(self) -> None:
        seconds = min(PAUSE_MAX_S, PAUSE_S * 2 ** (self._crashes - 2)) if self._crashes > 1 else 0.0
        self.last = self.state
        if seconds:
            message = f"back-off {seconds:g}s restarting failed container={self.spec['name']}"
            self._is(waiting={"reason": "CrashLoopBackOff", "message": message})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self.stopping.wait()

    async def _probe(self) -> None:
        if probe := self.spec.get("startupProbe"):
            await probing(probe, self._look(probe), self._started)
        else:
            self._started(good=True)
        if not self.started:
            return
        async with asyncio.TaskGroup() as both:
            if probe := self.spec.get("readinessProbe"):
                both.create_task(probing(probe, self._look(probe), self._readiness))
            else:
                self._readiness(good=True)
            if probe := self.spec.get("livenessProbe"):
                both.create_task(probing(probe, self._look(probe), self._liveness))

    def _look(self, probe: Object) -> Callable[[], Any]:
        url = url_of(probe, self.spec, self.ip)
        return lambda: ask(self.http, url, probe)

    def _started(self, good: bool) -> bool:
        self.started = good
        self.changed()
        if not good:
            self._replace()
        return False

    def _readiness(self, good: bool) -> bool:
        if good != self.ready:
            self.ready = good
            self.changed()
        return good or not self.stopping.is_set()

    def _liveness(self, good: bool) -> bool:
        if not good and not self.stopping.is_set():
            self._replace()
        return good

    def _replace(self) -> None:
        """A probe condemned it: asked to end, and killed where it does not; `run` starts it again."""
        process = self.process
        assert process is not None
        self._signal(signal.SIGTERM)

        def insist() -> None:
            if process.poll() is None:
                process.kill()

        asyncio.get_running_loop().call_later(self.grace_s, insist)

    def _signal(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(number)

    def _is(self, **state: Object) -> None:
        if state != self.state:
            self.state = dict(state)
            self.changed()


async def exited(process: subprocess.Popen[bytes]) -> int:
    """The exit code, as an event: Linux has one for it."""
    if process.returncode is None:
        loop, over, handle = asyncio.get_running_loop(), asyncio.Event(), os.pidfd_open(process.pid)
        loop.add_reader(handle, over.set)
        try:
            await over.wait()
        finally:
            loop.remove_reader(handle)
            os.close(handle)
    return process.wait()


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
