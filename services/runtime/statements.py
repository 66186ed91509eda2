"""SQL by name: a `.sql` file holds statements, each under a line `-- name: what_it_does`; Python never holds SQL in
strings.

A statement's name is also its label in `api_db_seconds{query}` and in slow-query lines. Called by the api's
repositories and by migrate.py.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, NamedTuple

_HEADING: Final = re.compile(r"^-- name: ([a-z][a-z0-9_]*)\s*$", re.MULTILINE)


class Statement(NamedTuple):
    """`name` is `<file>.<statement>`; `sql` has asyncpg's `$1` places."""

    name: str
    sql: str


def parse(text: str, prefix: str) -> dict[str, Statement]:
    """Statement name → statement. Raises ValueError for a name given twice or a statement without text."""
    parts = _HEADING.split(text)
    found: dict[str, Statement] = {}
    for name, sql in zip(parts[1::2], parts[2::2], strict=True):
        if name in found:
            raise ValueError(f"{prefix}.sql: statement {name} stands twice")
        if not sql.strip():
            raise ValueError(f"{prefix}.sql: statement {name} is empty")
        found[name] = Statement(f"{prefix}.{name}", sql.strip().rstrip(";"))
    return found


def load(file: Path) -> dict[str, Statement]:
    """All statements of one file, read once when the repository that owns it is imported."""
    return parse(file.read_text(encoding="utf-8"), file.stem)
