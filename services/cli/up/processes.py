"""The platform's processes under `up`: the controller with its process backend, started, watched and stopped in
order.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from services.cli.commands.version import own
from services.cli.errors import CliError
from services.cli.instance import CONTROLLER_FILE, write_private
from services.cli.up.environment import Plan, environment
from services.controller.backend import Event
from services.controller.backends.launch import Launcher
from services.controller.backends.processes import NotReadyError, ProcessBackend
from services.controller.loop import Controller
from services.controller.pods import HttpControlPorts
from services.controller.port import build
from services.controller.prometheus import PrometheusServers
from services.runtime.control import ControlServer
from services.runtime.settings import ControllerSettings, SettingsError, load

STOP_S: Final = 13.0  # drain delay and DRAIN_SECONDS of the slowest, and the kill
NO_LINES: Final = "it wrote nothing to its log"


class Processes:
    """`happened(reason, message)` is called for each event of the controller."""

    def __init__(self, plan: Plan, manifest: Path, logs: Path, happened: Callable[[str, str], None]) -> None:
        self._happened = happened
        self._ports = HttpControlPorts()
        self._settings = _settings(plan)
        self._numbers = PrometheusServers(self._settings.prometheus_servers)
        self._backend = ProcessBackend(
            manifest,
            plan.state,
            Launcher(logs),
            lambda component: environment(component, plan),
            token=plan.secrets.control_token,
            happened=self._told,
        )
        self._state = plan.state
        self._port: ControlServer | None = None
        self._controller: asyncio.Task[None] | None = None

    async def start(self, within_s: float) -> None:
        """Every component's least count, ready; then the controller takes over. E107: one did not get ready."""
        try:
            await self._backend.start_all(within_s)
        except NotReadyError as error:
            lines = error.last_lines or NO_LINES
            log = f"its whole log, with --data-dir DIR: DIR/logs/{error.instance}.log"
            raise CliError("E107", f"{error.instance} is not ready: {error.why}", lines, log) from None
        polls = self._settings.polls_per_second
        controller = Controller(
            self._backend, self._ports, version=own(), numbers=self._numbers, polls_per_second=polls
        )
        self._port = ControlServer(build(controller))
        url = f"http://127.0.0.1:{self._port.start('127.0.0.1', 0)}"
        write_private(self._state / CONTROLLER_FILE, json.dumps({"controlUrl": url}) + "\n")
        self._controller = asyncio.ensure_future(controller.run())  # noqa: TID251  # `failure` tells

    def _told(self, event: Event) -> None:
        self._happened(event.reason, event.message)

    def pids(self) -> list[int]:
        return self._backend.pids()

    def counts(self) -> dict[str, int]:
        """Ready processes by component, for the banner."""
        return self._backend.counts()

    def failure(self) -> BaseException | None:
        """What ended the controller, which never ends by itself."""
        if self._controller is None or not self._controller.done() or self._controller.cancelled():
            return None
        return self._controller.exception()

    async def stop(self) -> None:
        """The controller first, or it would replace who is going; then in the order of a request."""
        if self._controller is not None:
            self._controller.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await self._controller
        if self._port is not None:
            await self._port.stop()
        await self._backend.stop_all(STOP_S)
        await self._ports.close()
        await self._numbers.close()


def _settings(plan: Plan) -> ControllerSettings:
    """The controller's own, from the environment that `up` was started in."""
    try:
        return load(ControllerSettings, {**os.environ, "CONTROL_TOKEN": plan.secrets.control_token})
    except SettingsError as error:
        raise CliError(
            "", str(error), "the setting is read by the controller", "correct it, then start again"
        ) from None
