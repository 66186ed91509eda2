"""`breakers`: the list from status; forcing through the api."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.cli.commands import breakers
from services.cli.errors import DONE, FAILED, NOT_FOUND, REFUSED, CliError
from services.cli.output import Format
from services.cli.targets.local import Local
from tests.unit.cli.commands.test_keys import FakeApi
from tests.unit.cli.commands.test_status import running, stored


def test_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Those not closed by name, the rest counted; 1 while one is open; nothing of them reaches the terminal raw."""
    assert breakers.listing(Local(running(tmp_path, stored(), monkeypatch)), Format.table, None) == FAILED
    shown = capsys.readouterr().out
    assert "api-1" in shown
    assert "1 open, 0 half-open of 3 in 2/2 processes" in shown
    assert "\x1b" not in shown
    assert breakers.listing(Local(running(tmp_path / "b", stored(circuits={}), monkeypatch)), Format.json, None) == DONE


def test_forcing_and_reset_ask_the_api(capsys: pytest.CaptureFixture[str]) -> None:
    """By its admin routes, the name as one part of the path; what it answers is said."""
    held = {"name": "api/1", "state": "open", "until": "2026-11-24T10:00:00Z", "processes": 2}
    api = FakeApi(held, None, {"state": "closed"})
    assert breakers.force(api.through, "api/1", "open", ttl_s=60, reason="maintenance") == DONE
    assert breakers.reset(api.through, "api/1") == DONE
    route = "/api/v1/admin/circuit-breakers/api%2F1"
    body = {"state": "open", "ttlSeconds": 60, "reason": "maintenance"}
    assert api.calls == [
        ("PUT", f"{route}/force", body, {}),
        ("DELETE", f"{route}/force", None, {}),
        ("POST", f"{route}/reset", None, {}),
    ]
    said = "breaker api/1 open until 2026-11-24T10:00:00Z in 2 processes\nbreaker api/1 closed\n"
    assert capsys.readouterr().out == said


def test_a_name_that_nobody_has() -> None:
    """3, with the names that there are."""
    gone = CliError("", "no process has it", exit_code=NOT_FOUND)
    api = FakeApi(gone, {"redis": {}, "external-service": {}})
    with pytest.raises(CliError, match="no breaker nobody") as failed:
        breakers.reset(api.through, "nobody")
    assert (failed.value.exit_code, failed.value.why) == (NOT_FOUND, "there are external-service, redis")
    with pytest.raises(CliError, match="forbidden"):
        breakers.reset(FakeApi(CliError("", "forbidden", exit_code=REFUSED)).through, "nobody")
