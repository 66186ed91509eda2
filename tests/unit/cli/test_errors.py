"""Errors of the CLI: three lines, a code, an exit code."""

from __future__ import annotations

import pytest

from services.cli.errors import FAILED, REFUSED, UNREACHABLE, CliError, ProblemsError


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
