"""The demo's child of `up`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from services.cli.up.demo import Demo
from tests.harness.wait import eventually


async def test_lines_are_relayed_and_the_child_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line the child says arrives; its end with a fault is a line too; stopping leaves no process."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))  # no instance: the child ends with E111 in its log
    said: list[str] = []
    demo = Demo(1.0, tmp_path / "demo.log", said.append)
    await demo.start()
    await eventually(lambda: said, 10, "the child's end is told")
    assert said == [f"the demo's traffic ended; see {tmp_path / 'demo.log'}"]
    assert "E111" in (tmp_path / "demo.log").read_text()
    assert demo.pid is None
    await demo.stop()


async def test_a_running_child_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """stop() ends the child whatever it is doing."""
    stand_in = tmp_path / "python"
    stand_in.write_text("#!/bin/sh\necho steady\nexec sleep 60\n")
    stand_in.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(stand_in))
    said: list[str] = []
    demo = Demo(1.0, tmp_path / "demo.log", said.append)
    await demo.start()
    await eventually(lambda: said == ["steady"], 5, "its line arrived")
    pid = demo.pid
    assert pid is not None
    await demo.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_stopping_what_never_started(tmp_path: Path) -> None:
    """A demo that was not started yet stops at once."""
    demo = Demo(1.0, tmp_path / "demo.log", print)
    await demo.stop()
    assert demo.pid is None
    assert not (tmp_path / "demo.log").exists()
