"""`events` on a local instance; on a cluster: tests/cluster/test_cli.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from services.cli.commands import events
from services.cli.errors import DONE
from services.cli.output import Format
from services.cli.targets.local import Local
from tests.unit.cli.commands.test_status import running, stored


def test_the_events_of_a_local_instance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A row for what the controller wrote; without any, a sentence beside empty output."""
    made = running(tmp_path, stored(), monkeypatch)
    assert events.run(Local(made), Format.table, None) == DONE
    assert capsys.readouterr() == ("", "no Events are kept of it; Kubernetes forgets them after an hour\n")
    entry = {
        "time": "2026-11-24T10:00:00Z",
        "object": "shop",
        "type": "Normal",
        "reason": "ScaledUp",
        "message": "api 1→2",
    }
    (made.state / "events.jsonl").write_text(json.dumps(entry) + "\n")
    assert events.run(Local(made), Format.table, None) == DONE
    header, row = capsys.readouterr().out.splitlines()
    assert header.split() == ["LAST", "TYPE", "REASON", "COUNT", "MESSAGE"]
    assert row.split()[1:] == ["Normal", "ScaledUp", "1", "api", "1→2"]
