"""How findings are shown."""

from __future__ import annotations

import pytest

from services.cli.checks.finding import Finding, Mark, bad, lines, member, permitted
from services.cli.errors import CliError

GOOD = Finding("Components", "api", Mark.good, "2 of 2 ready")
BAD = Finding("Requests", "chain", Mark.bad, "503 by \x1b[2J", "see the log")


def test_under_headings_with_the_fix_below() -> None:
    """Each under its group, what to do under what is wrong, the count last; what a server says is no control sequence."""
    assert lines([GOOD, BAD]) == [
        "Components",
        "  ✓ api    2 of 2 ready",
        "Requests",
        "  ✗ chain  503 by \\x1b[2J",
        "           fix: see the log",
        "",
        "1 of 2 failed",
    ]
    assert lines([GOOD])[-1] == "all is well"
    assert bad([GOOD, BAD]) == [BAD]


def test_what_is_put_right_at_once_is_said_once() -> None:
    """Several in a row with the same fix have it behind the last; another fix between them has its own line."""
    other = Finding("Requests", "chain", Mark.bad, "slow", "wait")
    fixes = [line.strip() for line in lines([BAD, BAD, other, BAD]) if "fix" in line]
    assert fixes == ["fix: see the log", "fix: wait", "fix: see the log"]


def test_for_programs() -> None:
    """The mark by its name."""
    assert member(GOOD) == {"group": "Components", "subject": "api", "mark": "good", "text": "2 of 2 ready", "fix": ""}


def test_what_one_may_not_see_is_worth_a_look() -> None:
    """Forbidden is no fault of the platform; any other error ends the check."""

    def failing(code: str) -> Finding:
        raise CliError(code, "the cluster forbids it", "no list of leases")

    found = permitted("Operator", "leader", lambda: failing("E115"))
    assert (found.mark, found.fix) == (Mark.look, "no list of leases")
    with pytest.raises(CliError):
        permitted("Operator", "leader", lambda: failing("E113"))
