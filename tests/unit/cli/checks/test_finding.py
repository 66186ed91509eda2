"""How findings are shown."""

from __future__ import annotations

from services.cli.checks.finding import Finding, Mark, bad, lines, member

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


def test_for_programs() -> None:
    """The mark by its name."""
    assert member(GOOD) == {"group": "Components", "subject": "api", "mark": "good", "text": "2 of 2 ready", "fix": ""}
