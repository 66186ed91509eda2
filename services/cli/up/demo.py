"""The demo's traffic as a child of `up`: its load costs the controller nothing, its lines go to the terminal and a
log.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from services.cli.embedded.child import tie_to_parent

STOP_S = 3.0


class Demo:
    """`line` is called with each line it says."""

    def __init__(self, rate: float, log: Path, line: Callable[[str], None]) -> None:
        self._rate, self._log, self._line = rate, log, line
        self._process: asyncio.subprocess.Process | None = None
        self._relay: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self) -> None:
        argv = [sys.executable, "-m", "services.cli", "demo", "--rate", str(self._rate)]
        with self._log.open("ab") as errors:
            self._process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                preexec_fn=tie_to_parent(signal.SIGKILL),
            )
        self._relay = asyncio.ensure_future(self._relayed(self._process))  # noqa: TID251  # awaited by stop

    async def _relayed(self, process: asyncio.subprocess.Process) -> None:
        if process.stdout is None:
            return
        while line := await process.stdout.readline():
            self._line(line.decode(errors="replace").rstrip("\n"))
        if await process.wait() != 0:
            self._line(f"the demo's traffic ended; see {self._log}")

    async def stop(self) -> None:
        """Its session is ended first, so that the gateway has nothing to wait for."""
        if self._process is None or self._relay is None:
            return
        self._relay.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._relay
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(STOP_S):
                await self._process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()
