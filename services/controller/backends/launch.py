"""Start one process of ours and know about it: its ports once it listens, its end the moment it ends.

The child inherits one end of a socket pair (`SUPERVISOR_FD`): it says there where it listens, and its end closes with
it, which is how its death is seen at once, without signals or polling. The other way round it ends itself when ours
closes, and on Linux the kernel sends it SIGKILL when our main thread dies: `kill -9` of the starter leaves no orphan.
Start children from the main thread (PR_SET_PDEATHSIG follows the thread that forked).

Callers: backends.processes, the tests' harness.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from services.runtime.tasks import spawn

PR_SET_PDEATHSIG: Final = 1
REAP_S: Final = 0.01
"""Between the socket's end and the exit code the kernel needs a moment; a process offers no event for it."""
REAP_TRIES: Final = 300
"""A child that closed its socket yet lives is killed after three seconds: nobody could reach it any more."""
HELLO_BYTES: Final = 4096
TAIL_LINES: Final = 20
_libc: Final = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None

Command = Callable[[str], Sequence[str]]


class ChildEndedError(Exception):
    """A process ended before it listened; the text has its last log lines."""


@dataclass(frozen=True, slots=True)
class Hello:
    """Where it listens, on 127.0.0.1."""

    port: int
    control_port: int


@dataclass(slots=True)
class Child:
    """A started process. `hello` is None until it listens, `code` until it has ended."""

    component: str
    instance: str
    pid: int
    log: Path
    process: subprocess.Popen[bytes]
    hello: Hello | None = None
    code: int | None = None
    on_change: Callable[[Child], None] = lambda _child: None
    spoke: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def listening(self, within_s: float) -> Hello:
        """Its ports; raises ChildEndedError or TimeoutError."""
        async with asyncio.timeout(within_s):
            await self.spoke.wait()
        if self.hello is None:
            raise ChildEndedError(f"{self.instance} ended with {self.code}\n{self.last_lines()}")
        return self.hello

    async def wait(self, within_s: float) -> int | None:
        """Its exit code, None if it has not ended within the time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self.ended.wait()
        return self.code

    def terminate(self) -> None:
        """SIGTERM: drain and end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to its whole group."""
        if self.code is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    def last_lines(self) -> str:
        """What it logged last: the reason, as a rule."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - 16_384))
                return "\n".join(file.read().decode(errors="replace").splitlines()[-TAIL_LINES:])
        except OSError:
            return ""

    def _signal(self, number: signal.Signals) -> None:
        if self.code is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)


def module_command(component: str) -> Sequence[str]:
    """`python -m services.<component>` with our own interpreter."""
    return (sys.executable, "-m", f"services.{component}")


class Launcher:
    """Starts children whose output goes to `<logs>/<instance>.log`."""

    def __init__(self, logs: Path, command: Command = module_command) -> None:
        self._logs, self._command = logs, command

    def start(
        self,
        component: str,
        instance: str,
        env: Mapping[str, str],
        on_change: Callable[[Child], None] = lambda _child: None,
    ) -> Child:
        """Fork and exec now; `on_change` is called when it listens and when it has ended."""
        ours, theirs = socket.socketpair()
        path = self._logs / f"{instance}.log"
        try:
            with theirs, open(path, "ab", opener=_private) as out:  # Path.open has no opener
                process = subprocess.Popen(  # noqa: S603  # our own interpreter and modules
                    list(self._command(component)),
                    env={**env, "INSTANCE_ID": instance, "SUPERVISOR_FD": str(theirs.fileno())},
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                    preexec_fn=_tie_to_us(),  # noqa: PLW1509  # main thread only, see the head
                )
        except BaseException:
            ours.close()
            raise
        child = Child(component, instance, process.pid, path, process, on_change=on_change)
        spawn(_listen(child, ours), name=f"child {instance}")
        return child


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _tie_to_us() -> Callable[[], None]:
    us = os.getpid()

    def tie() -> None:
        if _libc is not None:
            _libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != us:
            os._exit(1)

    return tie


async def _listen(child: Child, pair: socket.socket) -> None:
    """Until the child's end of the pair closes."""
    reader, writer = await asyncio.open_connection(sock=pair, limit=HELLO_BYTES)
    try:
        with contextlib.suppress(OSError, ValueError):
            child.hello = _hello(await reader.readline())
            if child.hello:
                child.spoke.set()
                child.on_change(child)
            while await reader.read(HELLO_BYTES):
                pass
        for _ in range(REAP_TRIES):
            if (code := child.process.poll()) is not None:
                break
            await asyncio.sleep(REAP_S)
        else:
            child.kill()
            code = child.process.wait()
        child.code = code
        child.spoke.set()
        child.ended.set()
        child.on_change(child)
    finally:
        writer.close()


def _hello(line: bytes) -> Hello | None:
    said = json.loads(line) if line else None
    return Hello(int(said["port"]), int(said["controlPort"])) if isinstance(said, dict) else None
