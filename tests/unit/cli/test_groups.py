"""The groups, as a user types them."""

from __future__ import annotations

from pathlib import Path

from services.cli.errors import UNREACHABLE, USAGE
from tests.unit.cli.test_main import program


def test_bare_they_show(tmp_path: Path) -> None:
    """`tiers` and `breakers` alone ask the instance; there is none here."""
    for group in ("tiers", "breakers"):
        done = program(group, home=tmp_path)
        assert (done.returncode, "E111" in done.stderr) == (UNREACHABLE, True)


def test_forcing_needs_a_reason(tmp_path: Path) -> None:
    """Without --reason it is wrong usage."""
    done = program("breakers", "open", "api-1", home=tmp_path)
    assert (done.returncode, "--reason" in done.stderr) == (USAGE, True)
