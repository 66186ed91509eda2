"""How every process lives: settings → log → control port → service → signal → drain → exit 0.

`python -m services.gateway` calls `run(GatewaySettings, make)`; the component gives a `Service`. A wrong setting is
one line on stderr and exit code 1; a port that is taken too. SIGTERM and SIGINT drain: readiness is red at once,
`DRAIN_DELAY_SECONDS` of normal service follow (so that every caller has noticed), then `close` has `DRAIN_SECONDS`. A
second signal skips the delay.

`SUPERVISOR_FD` (set by `scalable-api up` and the tests): one end of a socket pair. The process says there once that
it listens, with its ports, and ends at once when the other end closes: a supervisor killed with -9 leaves no orphans.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, NoReturn, Protocol, TypeVar

import msgspec
import uvloop
from fastapi import APIRouter
from structlog.typing import FilteringBoundLogger

from services.runtime import log as logs
from services.runtime import settings as configuration
from services.runtime import tasks
from services.runtime.control import ControlServer, build
from services.runtime.metrics import Metrics
from services.runtime.settings import Settings, SettingsError
from services.runtime.tiers import TiersHolder
from services.runtime.tracing import Send, Tracing, sender
from services.runtime.vitals import Cpu, Events, Traffic, rfc3339, rss_bytes
from services.runtime.watchdog import Watchdog
from services.schema.snapshot import Snapshot, TierState

S = TypeVar("S", bound=Settings)
ROLL_S: Final = 1.0


class Service(Protocol):
    """What a component's app.py offers."""

    async def start(self) -> int:
        """Open stores, bind, serve; the data port."""
        ...

    def drain(self, on: bool) -> None:
        """Answers carry `Connection: close` while on; readiness is the runtime's."""
        ...

    async def close(self, within_s: float) -> None:
        """Stop listening, finish what is in flight within the time, abort the rest, close stores."""
        ...

    def checks(self) -> Mapping[str, bool]:
        """Readiness by name; draining, starting and the loop's lag are added by the runtime."""
        ...

    def snapshot(self) -> Snapshot:
        """`Runtime.snapshot` with the component's own parts."""
        ...


class DrainState:
    """Whether this process takes itself out; a drain by request ends by itself, the one before exit does not."""

    def __init__(self) -> None:
        self.draining = False
        self.on_change: list[Callable[[bool], None]] = []
        self._final = False
        self._timer: asyncio.TimerHandle | None = None

    def set(self, on: bool, timeout_s: float | None) -> None:
        """`timeout_s` None: for good."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._final = self._final or timeout_s is None
        on = on or self._final
        if on and timeout_s is not None and not self._final:
            self._timer = asyncio.get_running_loop().call_later(timeout_s, self._expire)
        if on != self.draining:
            self.draining = on
            for changed in self.on_change:
                changed(on)

    def _expire(self) -> None:
        self.set(on=False, timeout_s=0)


@dataclass
class Runtime(Generic[S]):
    """Made by `run`, given to the component: what every process has."""

    settings: S
    metrics: Metrics
    tiers: TiersHolder | None
    tracing: Tracing | None = None
    log: FilteringBoundLogger = field(default_factory=lambda: logs.get_log("process"))
    drain: DrainState = field(default_factory=DrainState)
    events: Events = field(default_factory=Events)
    traffic: Traffic = field(default_factory=Traffic)
    cpu: Cpu = field(default_factory=Cpu)
    routers: list[APIRouter] = field(default_factory=list)  # further control-port routes, appended before the start
    on_roll: list[Callable[[float], None]] = field(default_factory=list)  # once a second, with its true length
    started: bool = False
    started_at: float = field(default_factory=time.time)
    ports: tuple[int, int] = (0, 0)  # data, control
    _seq: int = 0

    def __post_init__(self) -> None:
        self.watchdog = Watchdog(self.metrics.loop_lag)

    def readiness(self, service: Service) -> dict[str, bool]:
        own = {"started": self.started, "serving": not self.drain.draining, "loop": self.watchdog.calm()}
        return own | dict(service.checks())

    def snapshot(self, *, ready: bool, in_flight: int, degraded: tuple[str, ...] = (), **parts: Any) -> Snapshot:
        """The common members; `parts` are the component's (breakers, endpoints, limiter, cache, …)."""
        self._seq += 1
        document = self.tiers.document if self.tiers else None
        notes = (*degraded, *(("tiers",) if self.tiers and self.tiers.note else ()))
        traffic, settings = self.traffic, self.settings
        return Snapshot(
            component=settings.component,
            instance=settings.instance_id,
            version=settings.app_version,
            started_at=rfc3339(self.started_at),
            at=rfc3339(time.time()),
            seq=self._seq,
            ready=ready,
            draining=self.drain.draining,
            in_flight=in_flight,
            requests=traffic.requests,
            rps=traffic.rps,
            error_rate=traffic.error_rate,
            latency=traffic.latency,
            loop_lag_ms=round(self.watchdog.lag_ms, 3),
            cpu=self.cpu.percent,
            rss_bytes=rss_bytes(),
            tasks=tasks.alive(),
            tier=TierState(document.revision, document.hash) if document else None,
            dependencies=self.metrics.dependencies(),
            degraded=notes,
            events=self.events.latest,
            **parts,
        )


def run(settings_type: type[S], make: Callable[[Runtime[S]], Service]) -> NoReturn:
    """The whole life of a process; never returns."""
    try:
        settings = configuration.load(settings_type, os.environ)
        send = sender(settings)
    except SettingsError as error:
        print(f"{settings_type.component}: {error}", file=sys.stderr)  # noqa: T201  # before there is a log
        sys.exit(1)
    writer = logs.configure(settings)
    for warning in configuration.retired(os.environ):
        logs.get_log("settings").warning(warning)
    try:
        code = uvloop.run(_live(settings, make, writer, send))
    except SettingsError as error:  # of a file that a setting names
        print(f"{settings_type.component}: {error}", file=sys.stderr)  # noqa: T201  # whoever set it looks there
        code = 1
    finally:
        writer.close()
    sys.exit(code)


def make_runtime(settings: S) -> Runtime[S]:
    """A runtime with its standard series; tests use it too."""
    tiers = TiersHolder(settings.tiers_file) if hasattr(settings, "tiers_file") else None
    rt = Runtime(settings, Metrics(settings.component, settings.app_version), tiers)
    rt.metrics.gauge("draining", "1 while the process takes itself out", lambda: float(rt.drain.draining))
    if tiers is not None:
        rt.metrics.gauge(
            "tiers_revision", "Revision of the tiers document in force", lambda: float(tiers.document.revision)
        )
        rt.metrics.gauge(
            "tiers_info", "Hash of the tiers document in force", lambda: {(tiers.document.hash,): 1.0}, ("hash",)
        )
    return rt


async def _live(settings: S, make: Callable[[Runtime[S]], Service], writer: logs.LogWriter, send: Send | None) -> int:
    rt = make_runtime(settings)
    if send is not None:
        rt.tracing = Tracing(send, rt.metrics)
    rt.metrics.counting("log_dropped_total", "Log lines lost because nobody took them", lambda: float(writer.dropped))
    service = make(rt)
    if rt.tiers is not None:
        rt.tiers.start()  # the component has its checks and hooks in place
    rt.metrics.gauge("ready", "1 while /readyz is 200", lambda: float(all(rt.readiness(service).values())))
    rt.drain.on_change.append(service.drain)
    control = ControlServer(build(rt, service))
    stop = _signals()
    rt.watchdog.start()
    roll = tasks.spawn(_roll(rt), name="roll")
    try:
        control_port = control.start(settings.host, settings.control_port)
        port = await service.start()
    except OSError as error:
        return await _give_up(rt, control, error, roll)
    rt.ports, rt.started = (port, control_port), True
    _settle()
    rt.log.info("listening", port=port, control_port=control_port, version=settings.app_version)
    _tell_supervisor(rt)
    await stop.wait()
    await _leave(rt, service, stop)
    await control.stop()
    rt.watchdog.stop()
    await tasks.stop(roll)
    if rt.tiers is not None:
        await rt.tiers.stop()
    if rt.tracing is not None:
        rt.tracing.close()
    rt.log.info("stopped")
    return 0


async def _leave(rt: Runtime[S], service: Service, stop: asyncio.Event) -> None:
    rt.log.info("draining", delay_s=rt.settings.drain_delay_seconds, within_s=rt.settings.drain_seconds)
    rt.drain.set(on=True, timeout_s=None)
    stop.clear()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(rt.settings.drain_delay_seconds):
            await stop.wait()
    await service.close(rt.settings.drain_seconds)


async def _give_up(rt: Runtime[S], control: ControlServer, error: OSError, *background: asyncio.Task[Any]) -> int:
    text = "address already in use" if error.errno == errno.EADDRINUSE else str(error)
    print(f"{rt.settings.component}: cannot listen on {rt.settings.host}: {text}", file=sys.stderr)  # noqa: T201
    rt.watchdog.stop()
    await control.stop(0.5)
    await tasks.stop(*background)
    return 1


def _signals() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def _roll(rt: Runtime[S]) -> None:
    before = time.monotonic()
    while True:
        await asyncio.sleep(ROLL_S)
        now = time.monotonic()
        rt.traffic.roll(now - before)
        rt.cpu.roll(now - before)
        for rolled in rt.on_roll:
            rolled(now - before)
        before = now


def _settle() -> None:
    """What was made at start stays: let the collector skip it, and look rarely (exchanges form no cycles)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _tell_supervisor(rt: Runtime[S]) -> None:
    if rt.settings.supervisor_fd is None:
        return
    pair = socket.socket(fileno=rt.settings.supervisor_fd)
    pair.settimeout(None)
    hello = {
        "component": rt.settings.component,
        "instance": rt.settings.instance_id,
        "port": rt.ports[0],
        "controlPort": rt.ports[1],
        "pid": os.getpid(),
    }
    pair.sendall(msgspec.json.encode(hello) + b"\n")

    def watch() -> None:
        with contextlib.suppress(OSError):
            while pair.recv(64):
                pass
        os._exit(3)  # the supervisor is gone: nobody would stop us later

    threading.Thread(target=watch, name="supervisor", daemon=True).start()
