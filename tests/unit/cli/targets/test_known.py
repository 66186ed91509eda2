"""Names to offer: here of a local instance; of a cluster in tests/cluster/test_cli.py."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from services.cli.main import app
from services.cli.targets.known import components, names, namespaces, where_of
from services.cli.targets.kubectl import Where
from tests.unit.cli.commands.test_status import running, stored


@pytest.fixture
def ctx() -> typer.Context:
    """Of a command without flags so far."""
    return typer.Context(typer.main.get_command(app))


def test_the_instance_is_offered(ctx: typer.Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name if it begins so; nothing without one."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert names(ctx, "") == []
    running(tmp_path, stored(), monkeypatch)
    assert (names(ctx, "sh"), names(ctx, "x")) == (["shop"], [])


def test_a_cluster_is_meant_by_a_flag(ctx: typer.Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the instance is not offered; who cannot be asked offers nothing."""
    running(tmp_path, stored(), monkeypatch)
    monkeypatch.setenv("PATH", str(tmp_path))
    ctx.params = {"namespace": "x"}
    assert where_of(ctx) == Where(namespace="x")
    assert (names(ctx, ""), namespaces(ctx, "")) == ([], [])


def test_components() -> None:
    """By their first letters."""
    assert components("") == ["gateway", "balancer", "api", "worker"]
    assert components("b") == ["balancer"]
