"""What a Tab after `kubectl scalableapi …` offers; of a real cluster: tests/cluster/test_cli.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from services.cli.completion import FILES, NO_FILES, lines


def values(*words: str) -> list[str]:
    *offered, directive = lines(list(words))
    assert directive == NO_FILES
    return [line.split("\t")[0] for line in offered]


def test_commands_are_those_a_cluster_can_be_asked() -> None:
    """Each with what it is; none of a local instance alone."""
    assert "status\tShow one of them on one screen." in lines([""])
    assert values("st") == ["status"]
    assert not {"up", "demo", "top", "migrate", "bootstrap"} & set(values(""))
    assert values("tiers", "ro") == ["rotate", "rollback"]


def test_flags_and_their_words() -> None:
    """Flags once a dash is typed, choices of a flag that has some, components for scale."""
    assert {"--wait", "--context", "--namespace"} <= set(values("status", "--"))
    assert values("get", "-o", "j") == ["json"]
    assert values("scale", "g") == ["gateway"]


def test_files_are_the_shells() -> None:
    """Where a file is expected the shell may offer its own."""
    assert lines(["apply", "-f", ""]) == [FILES]
    assert lines([]) == lines([""])


def test_nobody_to_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without kubectl nothing is offered, and nothing is said."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["kubectl_complete-scalableapi"])
    assert values("status", "") == []
    assert values("status", "--context", "") == []


def test_a_tab_is_quick() -> None:
    """Completion loads no model and no HTTP client: each costs more than all the rest."""
    code = "import sys, services.cli.completion; print({'pydantic', 'httpx', 'structlog', 'yaml'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"
