"""Started processes: each on its cores, its output in a file, ended by its id. Called by peers and __main__.

A child inherits the cores of the thread that starts it, so `placed` covers every worker and thread that it makes later. If the
benchmark is killed, the kernel ends the children (services/cli/embedded/child.py).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from services.cli.embedded.child import end, spawn, tail

START_S: Final = 10.0
POLL_S: Final = 0.02
END_S: Final = 5.0


class ProcessError(Exception):
    """A process did not start or has ended by itself; the text has its last lines."""


@dataclass(frozen=True, slots=True)
class Cores:
    """The proxies' core, and the others for wrk, upstream and stores."""

    proxy: int
    others: frozenset[int]


def cores() -> Cores | None:
    """None on a machine with a single core: load and proxy would measure each other."""
    usable = sorted(os.sched_getaffinity(0))
    return Cores(usable[0], frozenset(usable[1:])) if len(usable) > 1 else None


@contextlib.contextmanager
def placed(where: frozenset[int]) -> Iterator[None]:
    """Within it this thread, and whatever it starts, runs on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, where)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass(slots=True)
class Processes:
    """What was started, output in `folder`; `close` ends the latest first."""

    folder: Path
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(
        self,
        name: str,
        argv: Sequence[str | Path],
        port: int,
        where: frozenset[int],
        env: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Returns once it listens on `port`."""
        log = self.folder / f"{name}.out"
        with placed(where):
            process = spawn(argv, log, death=signal.SIGTERM, env=env)
        self.running[name] = process
        deadline = time.monotonic() + START_S
        while not listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise ProcessError(f"{name} does not listen on {port}:\n{tail(log)}")
            time.sleep(POLL_S)
        return process

    def check(self) -> None:
        """Raises ProcessError if one has ended: what was measured since is about something else."""
        for name, process in self.running.items():
            if (code := process.poll()) is not None:
                raise ProcessError(f"{name} ended with {code} during the run:\n{tail(self.folder / f'{name}.out')}")

    def stop(self, name: str) -> None:
        end(self.running.pop(name), signal.SIGTERM, END_S)

    def close(self) -> None:
        while self.running:
            end(self.running.popitem()[1], signal.SIGTERM, END_S)


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.5):
        return True
    return False


def free_ports(count: int) -> list[int]:
    """Ports the kernel chose, all different."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def program(name: str) -> str | None:
    """Its path: beside our interpreter (wheels), on PATH, or in the folders of system programs."""
    beside = Path(sys.executable).with_name(name)
    if beside.exists():
        return str(beside)
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/sbin")
