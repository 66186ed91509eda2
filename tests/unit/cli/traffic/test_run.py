"""The demo's course."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.cli.errors import CliError
from services.cli.traffic import run
from services.cli.traffic.phases import Phase, Stage
from tests.unit.cli.traffic.test_phases import stage


async def test_a_phase_that_cannot_be_played_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An admin call that fails does not end the demo; the reason stands in the phase's line."""

    async def fails(_stage: Stage, _seconds: float) -> str:
        raise CliError("", "no api answers")

    await run.one(stage(tmp_path), Phase("crash", 1, fails))
    assert "not played: no api answers" in capsys.readouterr().out


def test_without_demo_keys(tmp_path: Path) -> None:
    """An instance without demo rows has no demo: what to do is said."""
    with pytest.raises(CliError, match="no demo keys") as failed:
        run.demo_keys(stage(tmp_path).instance)
    assert "up --demo" in failed.value.next_step
    (tmp_path / "demo-keys.json").write_text('{"free": "k"}')
    assert run.demo_keys(stage(tmp_path).instance) == {"free": "k"}
