"""`migrate`: which database, and what its faults look like. The runner itself: runtime's tests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from services.cli.commands import migrate
from services.cli.errors import DONE, FAILED, UNREACHABLE, CliError
from services.cli.output import Format
from services.runtime import migrate as runner
from services.runtime.migrations import MigrationError
from tests.unit.cli.commands.test_status import running, stored


def test_which_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The flag, then the environment, then the running instance's owner."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    made = running(tmp_path, stored(), monkeypatch)
    (Path(made.data) / "databases.json").write_text('{"owner": "instance"}')
    assert migrate.target(None) == "instance"
    monkeypatch.setenv("DATABASE_URL", "environment")
    assert migrate.target(None) == "environment"
    assert migrate.target("flag") == "flag"


def test_secrets_may_be_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Kubernetes: DATABASE_URL_FILE; a path that cannot be read is E110 and names the variable."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    (tmp_path / "url").write_text("from a file\n")
    monkeypatch.setenv("DATABASE_URL_FILE", str(tmp_path / "url"))
    assert migrate.target(None) == "from a file"
    monkeypatch.setenv("DATABASE_URL_FILE", str(tmp_path / "nothing"))
    with pytest.raises(CliError, match="DATABASE_URL cannot be read") as failed:
        migrate.target(None)
    assert (failed.value.code, "DATABASE_URL_FILE=" in failed.value.why) == ("E110", True)


def test_e110_and_e108(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that is not there: E110, exit 5. One this version does not know: E108."""
    with pytest.raises(CliError) as failed:
        migrate.status(Format.table, "postgresql://u:p@127.0.0.1:1/x", 0.0)
    assert (failed.value.code, failed.value.exit_code) == ("E110", UNREACHABLE)

    async def newer(*_: object, **__: object) -> list[runner.Line]:
        raise MigrationError("0099 is newer")

    monkeypatch.setattr(runner, "status", newer)
    with pytest.raises(CliError) as failed:
        migrate.status(Format.table, "x", 0.0)
    assert failed.value.code == "E108"


def test_pending_is_a_negative_answer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`status` lists every file; one that has not run is exit 1."""

    async def lines(*_: object, **__: object) -> list[runner.Line]:
        return [runner.Line(1, "0001_expand_x.sql", None), runner.Line(2, "0002_contract_y.sql", None, known=False)]

    monkeypatch.setattr(runner, "status", lines)
    assert migrate.status(Format.json, "x", 0.0) == FAILED
    shown = json.loads(capsys.readouterr().out)["data"]["migrations"]
    assert [row["state"] for row in shown] == ["pending", "unknown to this version"]


def test_verify(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """No fault: 0 and a sentence. A fault: 1 and the sentence about it."""
    faults: list[str] = []

    async def verify(*_: object, **__: object) -> list[str]:
        return faults

    monkeypatch.setattr(runner, "verify", verify)
    assert migrate.verify(Format.table, "x", 0.0) == DONE
    faults.append("the schema differs")
    assert migrate.verify(Format.table, "x", 0.0) == FAILED
    assert capsys.readouterr().out.endswith("the schema differs\n")
