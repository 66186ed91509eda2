"""Children that die with their starter; socket folders whose paths fit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from services.cli.embedded import child
from services.cli.embedded.child import SOCKET_PATH_MAX, end, exited, major, socket_folder, spawn, tail, version_of


async def test_a_child_writes_to_its_log_and_is_reaped(tmp_path: Path) -> None:
    """stdout, stderr and the exit code of a child are kept; stdin is what was given."""
    log = tmp_path / "log"
    process = spawn(["sh", "-c", "cat; echo oops >&2; exit 3"], log, death=signal.SIGKILL, stdin=b"given\n")
    assert await exited(process) == 3
    assert tail(log) == "given\noops"
    assert tail(log, 1) == "oops"
    assert tail(tmp_path / "none") == ""


def test_a_stubborn_child_is_killed(tmp_path: Path) -> None:
    """Who ignores the request to end is killed after the time given."""
    process = spawn(
        ["sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done"], tmp_path / "l", death=signal.SIGKILL
    )
    while "up" not in tail(tmp_path / "l"):
        time.sleep(0.01)
    end(process, signal.SIGTERM, 0.2)
    assert process.returncode == -signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_the_child_of_a_killed_starter_ends(tmp_path: Path) -> None:
    """kill -9 of the starter ends its children: the kernel sees to it."""
    code = (
        "import signal, sys; from pathlib import Path; from services.cli.embedded.child import spawn\n"
        f"p = spawn(['sleep', '60'], Path({str(tmp_path / 'l')!r}), death=signal.SIGKILL); print(p.pid, flush=True)\n"
        "sys.stdin.read()"
    )
    starter = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert starter.stdout is not None
    assert starter.stdin is not None
    with starter.stdout, starter.stdin:
        pid = int(starter.stdout.readline())
        starter.kill()
        starter.wait()
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline and _lives(pid):
        time.sleep(0.01)
    assert not _lives(pid)


def _lives(pid: int) -> bool:
    """A zombie nobody has reaped yet is dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_long_path_gets_a_short_socket_folder(tmp_path: Path) -> None:
    """A socket whose path would not fit moves to a short folder, which is named for removal."""
    short, extra = socket_folder(tmp_path / "s", "x.sock") if len(str(tmp_path)) < 80 else (tmp_path, ())
    assert extra == ()
    deep = tmp_path / ("d" * SOCKET_PATH_MAX)
    short, extra = socket_folder(deep, "x.sock")
    try:
        assert extra == (short,)
        assert len(os.fsencode(short / "x.sock")) <= SOCKET_PATH_MAX
        assert not deep.exists()
    finally:
        short.rmdir()


def test_versions() -> None:
    """The version is the first number a program prints about itself; a file that does not run has none."""
    assert version_of(Path(sys.executable)).startswith("3.")
    assert version_of(Path("/nonexistent")) == ""
    assert (major("15.3"), major("9"), major("")) == (15, 9, 0)


def test_only_root_needs_another_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user runs Postgres as themselves; root takes `postgres`, else `nobody`."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert child.unprivileged() is None
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    account = child.unprivileged()
    assert account is not None
    assert account.name in ("postgres", "nobody")
    assert account.uid != 0
