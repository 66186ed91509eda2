"""The running instance as a target."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from services.cli.errors import NOT_FOUND, CliError
from services.cli.targets.local import Local
from services.cli.targets.target import the_one
from tests.unit.cli.commands.test_status import running, stored


def test_its_one_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It needs no name; its own name is fine; another is not found."""
    target = Local(running(tmp_path, stored(), monkeypatch))
    assert the_one(target, None) == the_one(target, "shop")
    with pytest.raises(CliError, match="store") as failed:
        target.object("store")
    assert failed.value.exit_code == NOT_FOUND


def test_events_are_those_the_instance_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both files, oldest first, of this object; a line that a crash cut is passed over."""
    made = running(tmp_path, stored(), monkeypatch)
    one = {
        "time": "2026-11-24T10:00:00Z",
        "object": "shop",
        "type": "Normal",
        "reason": "ScaledUp",
        "message": "api 1→2",
    }
    lines = [one, {**one, "object": "store"}, {**one, "reason": "ScaledDown"}]
    (made.state / "events.1.jsonl").write_text(json.dumps(lines[0]) + "\n")
    (made.state / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines[1:]) + '{"time": "20')
    assert [event.reason for event in Local(made).events("shop")] == ["ScaledUp", "ScaledDown"]


def test_watch_yields_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The object now, then each other state of it, then an end when the time is up."""
    made = running(tmp_path, stored(), monkeypatch)
    seen = []
    for found in Local(made).watch(None, 0.7):
        seen.append(len(found.status.conditions))
        made.object_file.write_text(json.dumps(stored(conditions=[])))
    assert seen == [2, 0]
