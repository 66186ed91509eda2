"""`version`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from services.cli import fleet
from services.cli.commands import version
from services.cli.errors import DONE
from services.cli.fleet import Process
from services.cli.instance import Instance
from services.cli.output import Format
from tests.unit.cli.commands.test_status import running, stored
from tests.unit.cli.commands.test_top import snapshot


def test_without_an_instance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The client's version alone is an answer too."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert version.run(Format.json) == DONE
    assert json.loads(capsys.readouterr().out)["data"]["processes"] == {}


def test_skew_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A process of another version is shown, with what to do on stderr."""

    async def snapshots(_instance: Instance) -> list[Process]:
        return [Process("api", "api-1", "", snapshot("api", version="0.9"))]

    running(tmp_path, stored(), monkeypatch)
    monkeypatch.setattr(fleet, "snapshots", snapshots)
    assert version.run(Format.table) == DONE
    out, err = capsys.readouterr()
    assert "api-1    0.9" in out
    assert "restart" in err
