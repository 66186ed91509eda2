"""Asking every process at once."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from services.cli import fleet
from services.cli.errors import UNREACHABLE, CliError
from services.cli.instance import Instance


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    (tmp_path / "secrets.json").write_text(json.dumps({"control_token": "t"}))
    (tmp_path / "state" / "endpoints").mkdir(parents=True)
    entry = [{"id": "api-1", "controlUrl": "http://127.0.0.1:1"}]
    (tmp_path / "state" / "endpoints" / "api.json").write_text(json.dumps(entry))
    return Instance(os.getpid(), "shop", "http://127.0.0.1:1", str(tmp_path), "m", "1", "now", demo=False)


async def test_l2_a_silent_process_keeps_its_row(instance: Instance) -> None:
    """L2: a control port that does not answer is shown with the reason, beside the others."""
    (only,) = await fleet.snapshots(instance)
    assert (only.id, only.snapshot) == ("api-1", None)
    assert "connection attempts failed" in only.error


async def test_explain_without_an_answer(instance: Instance) -> None:
    """No process of the component, or none that answers: exit 5."""
    for component in ("gateway", "api"):
        with pytest.raises(CliError) as failed:
            await fleet.explain(instance, component, {})
        assert failed.value.exit_code == UNREACHABLE
