"""`events` on a local instance; on a cluster: tests/cluster/test_cli.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.cli.commands import events
from services.cli.errors import REFUSED, CliError
from services.cli.output import Format
from services.cli.targets.local import Local
from tests.unit.cli.commands.test_status import running, stored


def test_a_local_instance_keeps_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said, with where to look instead."""
    with pytest.raises(CliError, match="no events") as failed:
        events.run(Local(running(tmp_path, stored(), monkeypatch)), Format.table, None)
    assert (failed.value.exit_code, "logs" in failed.value.next_step) == (REFUSED, True)
