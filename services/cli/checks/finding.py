"""One thing that was looked at: good, worth a look, or bad with what to do about it. Makers: the modules beside this one.

Callers: commands/check.py prints them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import groupby, zip_longest
from typing import Any, Final

from services.cli.errors import CliError
from services.cli.output import ANSI_GREEN, ANSI_RED, ANSI_YELLOW, clean, paint


class Mark(StrEnum):
    """How it was found; only `bad` fails the check."""

    good = "✓"
    look = "!"
    bad = "✗"


FORBIDDEN: Final = "E115"
COLOURS: Final = {Mark.good: ANSI_GREEN, Mark.look: ANSI_YELLOW, Mark.bad: ANSI_RED}


@dataclass(frozen=True, slots=True)
class Finding:
    """`group` is its heading, `subject` what was looked at; `fix` is there unless it is good."""

    group: str
    subject: str
    mark: Mark
    text: str
    fix: str = ""


def permitted(group: str, subject: str, look: Callable[[], Finding]) -> Finding:
    """What one may not see is no fault of it, and no reason to see nothing else."""
    try:
        return look()
    except CliError as error:
        if error.code != FORBIDDEN:
            raise
        return Finding(group, subject, Mark.look, "you may not see it", error.why)


def bad(findings: Sequence[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.mark is Mark.bad]


def lines(findings: Sequence[Finding]) -> list[str]:
    """Under their headings, in their order; a fix of several in a row once, behind them; the last line counts."""
    width = max((len(finding.subject) for finding in findings), default=0)
    shown: list[str] = []
    for group, grouped in groupby(findings, key=lambda finding: finding.group):
        shown.append(group)
        members = list(grouped)
        for finding, after in zip_longest(members, members[1:]):
            mark = paint(finding.mark.value, COLOURS[finding.mark])
            shown.append(f"  {mark} {clean(finding.subject).ljust(width)}  {clean(finding.text)}")
            if finding.fix and (after is None or after.fix != finding.fix):
                shown.append(f"    {' ' * width}  fix: {clean(finding.fix)}")
    wrong = len(bad(findings))
    return [*shown, "", f"{wrong} of {len(findings)} failed" if wrong else "all is well"]


def member(finding: Finding) -> dict[str, Any]:
    """For programs."""
    return asdict(finding) | {"mark": finding.mark.name}
