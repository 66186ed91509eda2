"""Which target a command gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.cli import instance as instances
from services.cli.errors import REFUSED, CliError
from services.cli.targets.choice import choose
from services.cli.targets.cluster import Cluster
from services.cli.targets.kubectl import Where
from services.cli.targets.local import Local
from tests.unit.cli.commands.test_status import running, stored


def test_the_instance_unless_a_cluster_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No flag: the running instance; one flag, or run as kubectl's plugin: the cluster."""
    running(tmp_path, stored(), monkeypatch)
    assert isinstance(choose(Where()), Local)
    assert isinstance(choose(Where(namespace="x")), Cluster)
    monkeypatch.setattr("sys.argv", ["/usr/bin/kubectl-scalableapi"])
    assert isinstance(choose(Where()), Cluster)


def test_a_plugin_never_speaks_to_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that knows only instances is refused as a plugin, though one is running."""
    running(tmp_path, stored(), monkeypatch)
    monkeypatch.setattr("sys.argv", ["kubectl-scalableapi"])
    with pytest.raises(CliError, match="not on a cluster") as failed:
        instances.current()
    assert failed.value.exit_code == REFUSED


def test_without_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """E111."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with pytest.raises(CliError) as failed:
        choose(Where())
    assert failed.value.code == "E111"
