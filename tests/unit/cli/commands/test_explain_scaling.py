"""A decision, recomputed from its record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from services.cli.commands import explain_scaling
from services.cli.errors import DONE, FAILED, NOT_FOUND, UNREACHABLE, CliError
from services.cli.output import Format
from services.cli.targets import local
from services.cli.targets.choice import choose
from services.cli.targets.kubectl import Where
from services.core import autoscale
from services.schema.status import LastDecision, StoredObject
from tests.unit.cli.commands.test_status import DECISION, running, stored


def test_the_record_alone_gives_the_decision_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A sentence per rule that changed the number, and `recomputed` equal to what was decided: exit 0."""
    running(tmp_path, stored(), monkeypatch)
    assert explain_scaling.run(choose(Where()), Format.table, "api") == DONE
    shown = capsys.readouterr().out
    for part in ("2 → 4", "rps: 250 in the panic window, 60 each", "2 to 4 are allowed", "recomputed: 4 (as decided)"):
        assert part in shown


def test_live_shows_this_seconds_decision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """--live asks the controller's own control port for the object by name; without an answer it is exit 4."""
    running(tmp_path, stored(), monkeypatch)
    (tmp_path / "data" / "secrets.json").write_text('{"control_token": "a-control-token"}')
    with pytest.raises(CliError, match="the controller does not answer") as silent:
        explain_scaling.run(choose(Where()), Format.table, "api", live=True)
    assert silent.value.exit_code == UNREACHABLE
    asked: list[tuple[str, str]] = []

    async def decisions(_instance: object, name: str, namespace: str) -> dict[str, dict[str, object]]:
        asked.append((name, namespace))
        return {"api": DECISION | {"time": "2026-11-24T10:00:59Z"}}

    monkeypatch.setattr(local, "decisions", decisions)
    assert explain_scaling.run(choose(Where()), Format.table, "api", live=True) == DONE
    assert "2026-11-24T10:00:59Z" in capsys.readouterr().out
    assert asked == [("shop", "")]


def test_a_mismatch_is_exit_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A stored result that its own record does not give is a bug, and said so."""
    found = stored()
    found["status"]["components"][0]["lastDecision"] = DECISION | {"final": 3}
    running(tmp_path, found, monkeypatch)
    assert explain_scaling.run(choose(Where()), Format.table, None) == FAILED
    assert "decided was 3: a bug" in capsys.readouterr().out
    assert explain_scaling.run(choose(Where()), Format.json, None) == FAILED
    assert json.loads(capsys.readouterr().out)["data"]["components"][0]["agrees"] is False


def test_unknown_and_undecided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A component that is not there: 3, with the names; one without a decision: 1."""
    running(tmp_path, stored(), monkeypatch)
    with pytest.raises(CliError) as failed:
        explain_scaling.run(choose(Where()), Format.table, "worker")
    assert (failed.value.exit_code, failed.value.why) == (NOT_FOUND, "there are api")
    found = StoredObject.model_validate(stored(components=[]))
    with pytest.raises(CliError, match="nothing was decided"):
        explain_scaling.pick(found, None)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"heldDown": 4, "heldUp": None}, "no decrease below"),
        ({"downLimit": 2, "heldDown": 0}, "at least now"),
        ({"settling": True}, "too young"),
        ({"mode": "Recommend", "heldDown": 0}, "mode Recommend"),
    ],
)
def test_each_rule_has_its_sentence(change: dict[str, object], part: str) -> None:
    """A falling load is held by each rule with its own words."""
    low = {**DECISION["metrics"][0], "stable": "20", "high": "20", "panic": "20", "recent": "20"}  # type: ignore[index]
    inputs = {**DECISION["inputs"], "inPanic": False, "min": 1, **change}  # type: ignore[dict-item]
    decision = LastDecision.model_validate({**DECISION, "from": 4, "inputs": inputs, "metrics": [low], "steps": []})
    recomputed = autoscale.replay(explain_scaling.record_of(decision))
    assert any(part in line for line in explain_scaling._steps(decision, recomputed))
