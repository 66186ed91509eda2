"""What the CLI says when something is wrong: three lines (what, why, next), a code that is a heading in
docs/troubleshooting.md, and an exit code.

    CliError
    ├── with a code E101…E115: of `up`, of reaching an instance or a cluster
    └── without: a negative answer, a refusal, a thing that is not there
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
NOT_FOUND: Final = 3
REFUSED: Final = 4
UNREACHABLE: Final = 5
WAIT_RAN_OUT: Final = 6
INTERRUPTED: Final = 130

EXIT_OF: Final = {
    "E106": REFUSED,
    "E107": UNREACHABLE,
    "E110": UNREACHABLE,
    "E111": UNREACHABLE,
    "E112": UNREACHABLE,
    "E113": UNREACHABLE,
    "E114": NOT_FOUND,
    "E115": REFUSED,
}


class CliError(Exception):
    """`code` may be empty; `exit_code` follows from it unless given."""

    def __init__(self, code: str, what: str, why: str = "", next_step: str = "", exit_code: int | None = None) -> None:
        super().__init__(what)
        self.code, self.what, self.why, self.next_step = code, what, why, next_step
        self.exit_code = EXIT_OF.get(code, FAILED) if exit_code is None else exit_code

    def lines(self) -> list[str]:
        """`error E101  what`, `why  …`, `next  …`; a cause of several lines is indented under its first."""
        head = f"error {self.code}  {self.what}" if self.code else f"error  {self.what}"
        rows = [head]
        for label, text in (("why", self.why), ("next", self.next_step)):
            if text:
                first, *rest = text.splitlines()
                rows += [f"  {label:<4} {first}", *(f"       {line}" for line in rest)]
        return rows


class ProblemsError(CliError):
    """Several at once: preflight lists all. The first one's code and exit code count."""

    def __init__(self, problems: Iterable[CliError]) -> None:
        self.problems = tuple(problems)
        first = self.problems[0]
        super().__init__(first.code, first.what, first.why, first.next_step, first.exit_code)

    def lines(self) -> list[str]:
        return [line for problem in self.problems for line in problem.lines()]
