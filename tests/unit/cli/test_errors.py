"""Errors of the CLI: three lines, a code, an exit code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from services.cli.errors import FAILED, REFUSED, UNREACHABLE, CliError, ProblemsError

ROOT = Path(__file__).resolve().parents[3]


def test_every_code_has_its_heading() -> None:
    """docs/troubleshooting.md has a section for each code the source can print, in order, and for no other; each says
    what, why and what to do.
    """
    source = "".join(path.read_text() for path in (ROOT / "services").rglob("*.py"))
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    coded = re.findall(r"^## (E\d{3}) .+?(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    assert coded == sorted(set(re.findall(r'"(E\d{3})"', source)))
    for section in page.split("\n## ")[1:]:
        assert re.findall(r"^- \*\*(\w+)\*\*", section, re.MULTILINE) == ["Says", "Why", "Do"], section


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [("E101", FAILED), ("E106", REFUSED), ("E107", UNREACHABLE), ("E111", UNREACHABLE), ("", FAILED)],
)
def test_exit_codes(code: str, exit_code: int) -> None:
    """E106 is a refusal, E107, E110 and E111 are unreachable, the rest failed."""
    assert CliError(code, "what").exit_code == exit_code


def test_three_lines() -> None:
    """What, why and next stand in that order, each with its word; a long cause goes on below."""
    lines = CliError("E101", "port 8080 is in use", "nginx (pid 812)\nlistens", "scalable-api up --port 8090").lines()
    assert [line.split()[0] for line in lines] == ["error", "why", "listens", "next"]
    assert lines[0] == "error E101  port 8080 is in use"


def test_several_at_once() -> None:
    """Preflight's problems are listed all; the first decides the exit code."""
    both = ProblemsError([CliError("E106", "manifest"), CliError("E101", "port")])
    assert both.exit_code == REFUSED
    assert [line for line in both.lines() if line.startswith("error")] == ["error E106  manifest", "error E101  port"]
