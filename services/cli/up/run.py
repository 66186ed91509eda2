"""`up` from preflight to the last line: stores, schema, processes by the controller, banner, demo; then until
Ctrl-C, in order.

The first Ctrl-C (SIGINT, SIGTERM, SIGHUP) ends gateways, balancers, apis, the controller, then the stores: exit 0.
The second kills all groups at once: exit 130. Killed itself, its children die with it (PR_SET_PDEATHSIG,
SUPERVISOR_FD).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
import time
import webbrowser
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, Final, NoReturn

from services.cli import instance as instances
from services.cli.commands.version import own
from services.cli.errors import DONE, INTERRUPTED, CliError
from services.cli.instance import Instance, write_private
from services.cli.output import Format, report, say, tell
from services.cli.up import banner, folder, preflight, stores
from services.cli.up.demo import Demo
from services.cli.up.environment import Plan, secrets_of
from services.cli.up.options import Options
from services.cli.up.preflight import Ready
from services.cli.up.processes import Processes
from services.cli.up.stores import Stores
from services.runtime.log import LogWriter, configure, get_log
from services.runtime.settings import ControllerSettings

READY_S: Final = 20.0
LOOK_S: Final = 0.5
log = get_log(__name__)


def run(options: Options) -> int:
    """Exit 0 after Ctrl-C; what cannot start is a CliError with its code."""
    started = time.monotonic()
    ready = preflight.check(options)
    up = Up(options, ready, started)
    try:
        return asyncio.run(up.live())
    finally:
        ready.port.release()
        ready.folder.release()
        up.say_goodbye()


class Up:
    """One run of `up`."""

    def __init__(self, options: Options, ready: Ready, started: float) -> None:
        self.options, self.ready, self.started = options, ready, started
        self.stores: Stores | None = None
        self.processes: Processes | None = None
        self.demo: Demo | None = None
        self.instance: Instance | None = None
        self._signals = 0
        self._stopping_since = 0.0

    async def live(self) -> int:
        writer = self._log()
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, self._signalled, stop)
        try:
            if not await self._unless(stop, self._start()):
                return DONE
            return await self._watch(stop)
        finally:
            self._stopping_since = time.monotonic()
            await self._end()
            writer.close()

    def _log(self) -> LogWriter:
        """The controller's and our own log lines go to a file: the terminal has the banner and events."""
        level, secret = self.options.log_level, secrets_of(self.ready.folder.path / "secrets.json").control_token
        settings = ControllerSettings.model_validate(
            {"log_level": level, "log_format": "json", "control_token": secret}
        )
        log = os.open(self.ready.folder.logs / "controller.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        return configure(settings, log)

    def _signalled(self, stop: asyncio.Event) -> None:
        self._signals += 1
        if self._signals == 1:
            stop.set()
        else:
            self._kill_all()

    @staticmethod
    async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
        """True when `work` is done, False when it was stopped before."""
        doing = asyncio.ensure_future(work)  # noqa: TID251  # its failure is raised below
        stopping = asyncio.ensure_future(stop.wait())  # noqa: TID251  # cancelled below
        await asyncio.wait({doing, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not doing.done():
            doing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await doing
            return False
        doing.result()
        return True

    # ----------------------------------------------------------------------------------------------- the start

    async def _start(self) -> None:
        """Steps 3 to 6 of platform.md §2."""
        data, options, ready = self.ready.folder, self.options, self.ready
        secrets = secrets_of(data.path / "secrets.json")
        self.stores = await stores.start(options, ready)
        self._note_children()
        schema = await stores.prepare(self.stores, ready, secrets)
        write_private(data.path / "databases.json", json.dumps({"owner": self.stores.owner}) + "\n")
        plan = Plan(
            host=options.host,
            port=ready.port.port,
            app_dsn=self.stores.app,
            gateway_dsn=self.stores.gateway,
            redis_url=self.stores.redis_url,
            state=data.state,
            tiers_file=data.state / f"{ready.manifest.metadata.name}-tiers" / "tiers.yaml",
            secrets=secrets,
            demo=ready.demo,
            log_level=options.log_level,
        )
        self.processes = Processes(plan, ready.manifest_path, data.logs, self._happened)
        await self.processes.start(READY_S)
        self._note_children()
        self._announce(schema)
        folder.sweep()

    def _note_children(self) -> None:
        pids = [store.process.pid for store in self.stores.running] if self.stores else []
        self.ready.folder.note_children([*pids, *(self.processes.pids() if self.processes else ())])

    def _announce(self, schema: str) -> None:
        """current.json for the other commands, the banner, the browser, the demo."""
        host = "localhost" if self.options.host in ("127.0.0.1", "localhost", "::1") else self.options.host
        url, data = f"http://{host}:{self.ready.port.port}", self.ready.folder
        self.instance = Instance(
            pid=os.getpid(),
            name=self.ready.manifest.metadata.name,
            url=url.replace("//localhost", "//127.0.0.1") if self.options.host == "127.0.0.1" else url,
            data=str(data.path),
            manifest=str(self.ready.manifest_path),
            version=own(),
            started_at=datetime.now(UTC).isoformat(timespec="seconds"),
            demo=self.ready.demo,
        )
        instances.announce(self.instance)
        self._show(url, schema)
        if self.options.open_browser and sys.stdout.isatty() and not os.environ.get("CI"):
            webbrowser.open(f"{url}/api/docs")
        if self.ready.demo:
            self.demo = Demo(self.options.demo_rate, data.logs / "demo.log", self._line)

    def _show(self, url: str, schema: str) -> None:
        given, processes = self.ready, self.processes.counts() if self.processes else {}
        holder = given.port.holder
        facts = banner.Facts(
            url=url,
            data=str(given.folder.path),
            temporary=given.folder.temporary,
            stores=self.stores.summary if self.stores else "",
            schema=schema,
            processes=processes,
            seconds=time.monotonic() - self.started,
            demo=given.demo,
            manifest=str(given.manifest_path),
            notes=[f"port {given.port.port}, because {holder}"] if holder else [],
        )
        if self.options.form is Format.json:
            data = {"url": url, "pid": os.getpid(), "data": facts.data, "manifest": facts.manifest}
            more = {"processes": dict(processes), "readySeconds": round(facts.seconds, 3), "demo": facts.demo}
            self._quietly(lambda: say(json.dumps(report("UpReport", data | more))))
        else:
            self._quietly(lambda: say(*banner.lines(facts)))

    # ------------------------------------------------------------------------------------------------ meanwhile

    async def _watch(self, stop: asyncio.Event) -> int:
        """Until a signal; stores that ended are started again, a controller that failed ends all."""
        if self.demo is not None:
            await self.demo.start()
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await stop.wait()
            if self.processes is not None and (failure := self.processes.failure()) is not None:
                raise CliError("E107", "the controller failed", repr(failure), f"see {self.ready.folder.logs}")
            if self.stores is not None and not stop.is_set():
                for name in await self.stores.revive(self.ready):
                    self._line(banner.event_line(time.strftime("%H:%M:%S"), "Restarted", f"{name} had ended"))
                    self._note_children()
        return DONE

    def _happened(self, reason: str, message: str) -> None:
        self._note_children()
        self._line(banner.event_line(time.strftime("%H:%M:%S"), reason, message))

    def _line(self, text: str) -> None:
        """After the banner: on stdout for people, on stderr beside JSON."""
        self._quietly(lambda: tell(text) if self.options.form is Format.json else say(text))

    @staticmethod
    def _quietly(act: Callable[[], None]) -> None:
        """A terminal or pipe that went away does not end the platform."""
        with contextlib.suppress(OSError):
            act()

    # -------------------------------------------------------------------------------------------------- the end

    async def _end(self) -> None:
        """In the order of a request, so that each finishes what it has."""
        if self.instance is not None:
            instances.retract(self.instance)
        if self.demo is not None:
            await self.demo.stop()
            log.info("demo stopped")
        if self.processes is not None:
            await self.processes.stop()
            log.info("processes stopped")
        if self.stores is not None:
            await asyncio.to_thread(self.stores.stop)  # the second Ctrl-C is heard meanwhile
            log.info("stores stopped")

    def say_goodbye(self) -> None:
        if self._signals:
            seconds = time.monotonic() - self._stopping_since
            self._quietly(lambda: tell(f"stopped in {seconds:.1f} s, nothing left running"))

    def _kill_all(self) -> NoReturn:
        """The second Ctrl-C."""
        pids = [store.process.pid for store in self.stores.running] if self.stores else []
        pids += self.processes.pids() if self.processes else []
        pids += [self.demo.pid] if self.demo and self.demo.pid else []
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        for store in self.stores.running if self.stores else ():
            for extra in store.folders:
                shutil.rmtree(extra, ignore_errors=True)
        if self.instance is not None:
            instances.retract(self.instance)
        self.ready.folder.release()
        os._exit(INTERRUPTED)
