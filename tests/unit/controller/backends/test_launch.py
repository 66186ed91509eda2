"""One child: its ports, its end, its last words."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from services.controller.backends.launch import ChildEndedError, Launcher, module_command

HELLO = """
import json, os, signal, socket, sys
pair = socket.socket(fileno=int(os.environ["SUPERVISOR_FD"]))
print("hello from", os.environ["INSTANCE_ID"], flush=True)
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
pair.sendall(json.dumps({"port": 1, "controlPort": 2}).encode() + b"\\n")
pair.recv(1)
"""
DEAF = HELLO.replace("lambda *_: os._exit(0)", "signal.SIG_IGN")
MUTE = "print('no luck', flush=True); raise SystemExit(4)"
GIBBERISH = HELLO.replace("json.dumps({", "'x' + json.dumps({")


def launcher(folder: Path, code: str) -> Launcher:
    return Launcher(folder, lambda _component: [sys.executable, "-c", code])


async def test_it_listens_and_ends(tmp_path):
    """Hello with its ports, SIGTERM, exit code 0; both told to `on_change`; its output in its log."""
    told = []
    child = launcher(tmp_path, HELLO).start("api", "api-1", os.environ, lambda c: told.append(c.code))
    hello = await child.listening(10)
    assert (hello.port, hello.control_port) == (1, 2)
    assert await child.wait(0.01) is None
    child.terminate()
    assert await child.wait(10) == 0
    assert (told, child.last_lines()) == ([None, 0], "hello from api-1")
    child.terminate()
    child.kill()


async def test_a_deaf_one_is_killed(tmp_path):
    """SIGTERM ignored: SIGKILL to the group."""
    child = launcher(tmp_path, DEAF).start("api", "api-1", os.environ)
    await child.listening(10)
    child.terminate()
    assert await child.wait(0.1) is None
    child.kill()
    assert await child.wait(10) == -signal.SIGKILL


async def test_one_that_ends_before_it_listens_says_why(tmp_path):
    """The error has the code and the last lines."""
    child = launcher(tmp_path, MUTE).start("api", "api-1", os.environ)
    with pytest.raises(ChildEndedError, match="ended with 4\nno luck"):
        await child.listening(10)
    child.log.unlink()
    assert not child.last_lines()


async def test_gibberish_is_no_hello(tmp_path):
    """A child that says something else is not taken for one of ours, and ended."""
    child = launcher(tmp_path, GIBBERISH).start("api", "api-1", os.environ)
    with pytest.raises(ChildEndedError):
        await child.listening(10)
    assert child.code is not None


def test_what_cannot_be_started_is_an_os_error(tmp_path):
    """The caller waits and tries again."""
    with pytest.raises(FileNotFoundError):
        Launcher(tmp_path, lambda _: ["/nowhere/python"]).start("api", "api-1", {})
    assert module_command("api")[1:] == ("-m", "services.api")
