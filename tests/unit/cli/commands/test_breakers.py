"""`breakers`: the list from status; forcing never goes to a cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.cli.commands import breakers
from services.cli.errors import DONE, FAILED, REFUSED, CliError
from services.cli.output import Format
from services.cli.targets.kubectl import Where
from services.cli.targets.local import Local
from tests.unit.cli.commands.test_status import running, stored


def test_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Those not closed by name, the rest counted; 1 while one is open; nothing of them reaches the terminal raw."""
    assert breakers.listing(Local(running(tmp_path, stored(), monkeypatch)), Format.table, None) == FAILED
    shown = capsys.readouterr().out
    assert "api-1" in shown
    assert "1 open, 0 half-open of 3 in 2/2 processes" in shown
    assert "\x1b" not in shown
    assert breakers.listing(Local(running(tmp_path / "b", stored(circuits={}), monkeypatch)), Format.json, None) == DONE


def test_a_cluster_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though an instance runs: the user means another place."""
    running(tmp_path, stored(), monkeypatch)
    with pytest.raises(CliError, match="on a cluster") as failed:
        breakers.reset(Where(namespace="x"), "api-1")
    assert failed.value.exit_code == REFUSED
