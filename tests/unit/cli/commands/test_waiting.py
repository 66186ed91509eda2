"""What a wait says and how it ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from services.cli.commands.waiting import beyond_help, not_enforced, not_ready, too_few, wait
from services.cli.errors import DONE, FAILED, WAIT_RAN_OUT
from services.cli.targets.local import Local
from services.schema.status import StoredObject
from tests.unit.cli.commands.test_status import running, stored


def condition(kind: str, status: str, reason: str, message: str = "") -> dict[str, str]:
    at = "2026-11-24T10:00:00Z"
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": at}


def seen(*conditions: dict[str, str], generation: int = 1) -> dict[str, Any]:
    return stored(conditions=list(conditions), observedGeneration=generation)


READY = condition("Ready", "True", "AllComponentsReady")
BUSY = condition("Ready", "False", "ComponentsNotReady", "api has 0 ready of 1, needs 1")
STALLED = condition("Stalled", "True", "Conflicted", "api: HorizontalPodAutoscaler/shop")


def test_it_is_told_what_is_lacking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is waited for and what is missing, on stderr; 6 when the time is up, 0 when it is there."""
    made = running(tmp_path, seen(BUSY), monkeypatch)
    assert wait(Local(made), "shop", "Ready", not_ready, 0.3) == WAIT_RAN_OUT
    said = capsys.readouterr()
    assert said.out == ""
    for part in ("waiting up to 0.3 s", "  ComponentsNotReady: api has 0 ready", "not Ready within 0.3 s: Comp"):
        assert part in said.err
    (tmp_path / "again").mkdir()
    made = running(tmp_path / "again", seen(READY), monkeypatch)
    assert wait(Local(made), "shop", "Ready", not_ready, 5) == DONE
    assert capsys.readouterr().err.endswith("scalableapi/shop is Ready\n")


def test_what_only_a_person_can_help_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """1 at once, with the reason; a status of an older spec ends nothing."""
    made = running(tmp_path, seen(BUSY, STALLED), monkeypatch)
    assert wait(Local(made), "shop", "Ready", not_ready, 60) == FAILED
    assert "HorizontalPodAutoscaler/shop" in capsys.readouterr().err
    assert beyond_help(StoredObject.model_validate(seen(BUSY, STALLED, generation=0))) == ""


def test_lacking() -> None:
    """In words, '' when nothing is."""
    assert "no controller" in not_ready(StoredObject.model_validate(seen()))
    assert "not seen" in not_ready(StoredObject.model_validate(seen(READY, generation=0)))
    assert not_ready(StoredObject.model_validate(seen(READY))) == ""
    assert not_enforced(StoredObject.model_validate(stored())) == "2 of 3 processes enforce the tiers"
    none = stored(tiers={"pods": {"total": 0, "acked": 0, "stale": []}})
    assert "no gateway" in not_enforced(StoredObject.model_validate(none))


@pytest.mark.parametrize(
    ("over", "told"),
    [
        ({"ready": 2, "min": 2, "desired": 4}, ""),
        ({"ready": 1, "min": 2, "desired": 4}, "api has 1 ready of 2"),
        ({"ready": 1, "min": 2, "desired": 1}, ""),  # paused below its floor
        ({"mode": "Manual", "ready": 2, "min": 1, "desired": 3}, "api has 2 ready of 3"),
    ],
)
def test_too_few(over: dict[str, Any], told: str) -> None:
    """Of what the floor, or the count in Manual, asks for; more than that comes with the load."""
    (api,) = stored()["status"]["components"]
    assert too_few(StoredObject.model_validate(stored(components=[api | over]))) == told
