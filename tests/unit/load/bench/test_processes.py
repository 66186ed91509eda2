from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from tests.load.bench.processes import ProcessError, Processes, free_ports, listens, placed, program

SERVER = "import socket, sys, time; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); time.sleep(60)"
HERE = frozenset({min(os.sched_getaffinity(0))})


def test_free_ports_are_different_and_free() -> None:
    """Each can be bound."""
    ports = free_ports(5)
    assert len(set(ports)) == 5
    for port in ports:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", port))


def test_a_child_inherits_its_cores_and_ends_by_close(tmp_path: Path) -> None:
    """It listens when `start` returns, runs where it was placed, we are back where we were, and `close` reaps it."""
    before = os.sched_getaffinity(0)
    processes = Processes(tmp_path)
    (port,) = free_ports(1)
    child = processes.start("server", [sys.executable, "-c", SERVER, str(port)], port, HERE)
    try:
        assert os.sched_getaffinity(child.pid) == HERE
        assert os.sched_getaffinity(0) == before
    finally:
        processes.close()
    assert child.returncode == -signal.SIGTERM
    assert not listens(port)


def test_one_that_ends_at_once_says_why(tmp_path: Path) -> None:
    """The error holds its last words, and it is still among those that `close` ends."""
    processes = Processes(tmp_path)
    with pytest.raises(ProcessError, match="no such configuration"):
        processes.start(
            "bad", [sys.executable, "-c", "raise SystemExit('no such configuration')"], free_ports(1)[0], HERE
        )
    processes.close()
    assert processes.running == {}


def test_one_that_ends_during_the_run_is_noticed(tmp_path: Path) -> None:
    """Its name, its code and its last words; as long as it lives `check` is silent."""
    processes = Processes(tmp_path)
    (port,) = free_ports(1)
    child = processes.start("upstream", [sys.executable, "-c", SERVER, str(port)], port, HERE)
    try:
        processes.check()
        child.terminate()
        child.wait()
        with pytest.raises(ProcessError, match="upstream ended with -15"):
            processes.check()
    finally:
        processes.close()


def test_placement_ends_with_its_block() -> None:
    """Also after an error."""
    before = os.sched_getaffinity(0)
    seen = []

    def failing() -> None:
        with placed(HERE):
            seen.append(os.sched_getaffinity(0))
            raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        failing()
    assert seen == [HERE]
    assert os.sched_getaffinity(0) == before


def test_programs_are_found() -> None:
    """Beside the interpreter first, then on the system."""
    assert program(Path(sys.executable).name) == str(Path(sys.executable).with_name(Path(sys.executable).name))
    assert program("sh") is not None
    assert program("no-such-proxy") is None
