"""The one screen, and the row of `get`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from services.cli import instance as instances
from services.cli.commands import status
from services.cli.errors import DONE, FAILED, UNREACHABLE, WAIT_RAN_OUT, CliError
from services.cli.instance import Instance
from services.cli.output import Format
from services.cli.targets.choice import choose
from services.cli.targets.kubectl import Where
from services.schema.status import StoredObject

INPUTS = {
    "mode": "Auto", "ready": 2, "starting": 0, "pending": 0, "draining": 0, "min": 2, "max": 4,
    "toleranceDown": 10, "toleranceUp": 5, "upLimit": 10, "downLimit": 1, "heldUp": 5, "heldDown": 4, "inPanic": True,
}  # fmt: skip
METRIC = {
    "name": "rps",
    "stable": "120",
    "high": "120",
    "panic": "250",
    "recent": "250",
    "target": "60",
    "coverage": "2/2",
}
DECISION = {
    "time": "2026-11-24T10:00:02Z", "generation": 1, "from": 2, "raw": 5, "final": 4, "recommended": 4,
    "direction": "Up",
    "reason": "Panic", "inputs": INPUTS, "metrics": [METRIC | {"proposal": 5}],
    "steps": [{"rule": "Metrics", "before": 2, "after": 5}, {"rule": "Bounds", "before": 5, "after": 4}],
}  # fmt: skip


def stored(**over: Any) -> dict[str, Any]:
    """An object as the controller writes it."""
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "AllComponentsReady",
        "lastTransitionTime": "2026-11-24T10:00:00Z",
    }
    circuit = {
        "name": "api-1",
        "component": "balancer",
        "state": "Open",
        "pods": "1/1",
        "since": "",
        "reason": "bad\x1b[2J",
    }
    api = {
        "name": "api",
        "mode": "Auto",
        "target": "processes/api",
        "desired": 4,
        "current": 4,
        "ready": 2,
        "min": 2,
        "max": 4,
    }
    changes = [{"time": "2026-11-24T10:00:02Z", "from": 2, "to": 4, "reason": "Panic", "metric": "rps"}]
    return {
        "apiVersion": "scalableapi.io/v1",
        "kind": "ScalableApi",
        "metadata": {"name": "shop", "generation": 1, "creationTimestamp": "2026-11-24T09:00:00Z"},
        "status": {
            "conditions": [ready, {"type": "CircuitsClosed", "status": "False", "reason": "CircuitOpen"}],
            "summary": {"api": "2/4", "tiers": "r1 2/2", "circuits": "1 open"},
            "components": [api | {"lastDecision": DECISION, "decisions": changes}],
            "tiers": {
                "activeRevision": 1,
                "activeHash": "sha256:abc",
                "pods": {"total": 3, "acked": 2, "stale": ["gateway-1"]},
            },
            "circuits": {"open": 1, "total": 3, "observedPods": "2/2", "items": [circuit]},
        }
        | over,
    }


def running(home: Path, found: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Instance:
    """An announced instance with that object."""
    monkeypatch.setenv("XDG_STATE_HOME", str(home))
    (home / "data" / "state").mkdir(parents=True)
    made = Instance(
        os.getpid(), "shop", "http://127.0.0.1:1", str(home / "data"), str(home / "m.yaml"), "1", "", demo=False
    )
    made.object_file.write_text(json.dumps(found))
    instances.announce(made)
    return made


def test_the_screen_tells_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Readiness, components with their last decision and its reason, tiers with who is stale, the open breaker, odd
    conditions.
    """
    running(tmp_path, stored(), monkeypatch)
    assert status.run_status(choose(Where()), Format.table, None, verbose=False, within_s=None) == DONE
    shown = capsys.readouterr().out
    for part in (
        "Ready",
        "2 → 4 Panic, rps 250 at 60 each",
        "2/3 processes",
        "gateway-1",
        "Open api-1",
        "CircuitsClosed",
    ):
        assert part in shown
    assert "\x1b" not in shown
    assert "bad\\x1b[2J" in shown


def test_exit_1_while_not_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not Ready is a negative answer; --wait that runs out is 6."""
    running(tmp_path, stored(conditions=[]), monkeypatch)
    assert status.run_status(choose(Where()), Format.json, None, verbose=False, within_s=None) == FAILED
    assert status.run_status(choose(Where()), Format.table, None, verbose=True, within_s=0.01) == WAIT_RAN_OUT


def test_get_is_one_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The printer columns of the resource, further ones with -o wide, the name alone with -o name."""
    running(tmp_path, stored(), monkeypatch)
    assert status.run_get(choose(Where()), Format.wide, None, watch=False) == DONE
    heads, row = capsys.readouterr().out.splitlines()
    assert heads.split()[:3] == ["NAME", "READY", "MODE"]
    assert row.split()[:2] == ["shop", "True"]
    assert "MESSAGE" in heads
    status.run_get(choose(Where()), Format.name, None, watch=False)
    assert capsys.readouterr().out == "scalableapi.scalableapi.io/shop\n"


def test_json_is_the_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """-o json of status holds the whole status under its envelope."""
    running(tmp_path, stored(), monkeypatch)
    status.run_status(choose(Where()), Format.json, None, verbose=False, within_s=None)
    found = json.loads(capsys.readouterr().out)
    assert (found["kind"], found["data"]["status"]["circuits"]["open"]) == ("StatusReport", 1)


def test_a_status_of_another_version_is_no_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state file this version cannot read: one sentence and 5."""
    running(tmp_path, {"kind": "Other", "surprise": 1}, monkeypatch)
    with pytest.raises(CliError) as failed:
        choose(Where()).objects()
    assert failed.value.exit_code == UNREACHABLE


def test_without_a_decision() -> None:
    """A component nobody has decided about yet shows a dash."""
    found = StoredObject.model_validate(stored())
    (component,) = found.status.components
    assert status.headline(component.model_copy(update={"last_decision": None})) == "-"
    decision = component.last_decision
    assert decision is not None
    stays = decision.model_copy(update={"final": 2, "metrics": ()})
    assert status.headline(component.model_copy(update={"last_decision": stays})).startswith("stays 2 Panic at ")
