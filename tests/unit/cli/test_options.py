"""Flags that would be lost are refused."""

from __future__ import annotations

from pathlib import Path

from services.cli.errors import USAGE
from tests.unit.cli.test_main import program


def test_a_cluster_named_before_the_subcommand(tmp_path: Path) -> None:
    """`tiers -n x history` would speak to this machine: refused with where the flag belongs."""
    done = program("tiers", "-n", "x", "history", home=tmp_path)
    assert (done.returncode, "after history" in done.stderr) == (USAGE, True)
