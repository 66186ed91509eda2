"""The data folder of an instance: its lock, what a killed one left behind, and its removal.

DIR/up.lock is held by flock as long as `up` lives, so the lock of a dead process is free by itself; its pid is for
people. Temporary folders are `scalable-api-*` under the system's; those whose lock is free are leftovers and go.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from services.cli.errors import CliError

PREFIX: Final = "scalable-api-"
LOCK: Final = "up.lock"
PROCESSES: Final = "children.json"


class DataFolder:
    """`path` belongs to this process until `release`."""

    def __init__(self, path: Path, lock: int, *, temporary: bool) -> None:
        self.path, self.temporary = path, temporary
        self._lock = lock

    @property
    def state(self) -> Path:
        return self.path / "state"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    def note_children(self, pids: Iterable[int]) -> None:
        """For the next start, where the kernel does not end children with their parent (macOS)."""
        (self.path / PROCESSES).write_text(json.dumps(sorted(pids)))

    def release(self) -> None:
        """Gives the lock back; a temporary folder is removed first."""
        if self.temporary:
            shutil.rmtree(self.path, ignore_errors=True)
        else:
            (self.path / PROCESSES).unlink(missing_ok=True)
        os.close(self._lock)


def claim(wanted: Path | None) -> DataFolder:
    """The folder asked for, made if absent, or a fresh temporary one. E104: another `up` has it; E105: not usable."""
    path = Path(tempfile.mkdtemp(prefix=PREFIX)) if wanted is None else wanted.absolute()
    try:
        path.mkdir(mode=0o711, parents=True, exist_ok=True)
        lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        why = f"{error.strerror}: {error.filename or path}"
        raise CliError("E105", f"the data folder {path} is not usable", why, "scalable-api up --data-dir DIR") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.pread(lock, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(lock)
        why = f"scalable-api up (pid {holder}) holds {path / LOCK}"
        raise CliError(
            "E104", f"the data folder {path} is in use", why, f"kill {holder}, or take another --data-dir"
        ) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    end_leftovers(path)
    for part, mode in (("logs", 0o700), ("state", 0o700)):
        (path / part).mkdir(mode=mode, exist_ok=True)
    return DataFolder(path, lock, temporary=wanted is None)


def end_leftovers(path: Path) -> None:
    """Ends the children a killed `up` noted: only those whose command line still names this folder."""
    try:
        pids = [int(pid) for pid in json.loads((path / PROCESSES).read_text())]
    except (OSError, ValueError, TypeError):
        return
    for pid in pids:
        if str(path) in _command_line(pid):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
    (path / PROCESSES).unlink(missing_ok=True)


def _command_line(pid: int) -> str:
    """From /proc where there is one (slim images have no ps)."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        argv = ["ps", "-ww", "-o", "command=", "-p", str(pid)]
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout
    except OSError:
        return ""


def sweep() -> None:
    """Removes temporary folders of ours whose `up` was killed."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if path.is_symlink() or path.stat().st_uid != os.geteuid():
                continue
            lock = os.open(path / LOCK, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                end_leftovers(path)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)
