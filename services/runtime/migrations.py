"""Migration files and what may be done with them: pure decisions, no database (reliability.md 6).

`NNNN_expand_*.sql` adds, `NNNN_contract_*.sql` takes away. Code N runs on schema N and on N + 1, so a database that
is ahead by expand files is fine; one that is ahead by a contract file lacks what this code reads: E108. A file whose
text changed after it ran is refused. Called by migrate.py.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

_NAME: Final = re.compile(r"(\d{4})_(expand|contract)_[a-z0-9_]+\.sql")
NO_TRANSACTION: Final = "-- no-transaction"


class MigrationError(Exception):
    """`code` is the CLI's error number; E108: the schema and this version do not fit."""

    code = "E108"


@dataclass(frozen=True, slots=True)
class Migration:
    version: int
    filename: str
    contract: bool
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def transactional(self) -> bool:
        return not self.sql.startswith(NO_TRANSACTION)

    @property
    def statements(self) -> list[str]:
        """For files that run without a transaction: each statement alone (CREATE INDEX CONCURRENTLY insists on it)."""
        lines = [line for line in self.sql.splitlines() if not line.lstrip().startswith("--")]
        return [part.strip() for part in re.split(r";\s*$", "\n".join(lines), flags=re.MULTILINE) if part.strip()]


@dataclass(frozen=True, slots=True)
class Applied:
    """A row of schema_migrations."""

    version: int
    filename: str
    checksum: str
    applied_at: datetime
    duration_ms: int


def read(folder: Path) -> tuple[Migration, ...]:
    """All files in order. Raises MigrationError for a name out of form, a number that is missing or there twice."""
    found = []
    for path in sorted(folder.glob("*.sql")):
        match = _NAME.fullmatch(path.name)
        if match is None:
            raise MigrationError(f"{path.name}: the name must be NNNN_expand_what.sql or NNNN_contract_what.sql")
        found.append(Migration(int(match[1]), path.name, match[2] == "contract", path.read_text(encoding="utf-8")))
    for expected, migration in enumerate(found, start=1):
        if migration.version != expected:
            raise MigrationError(f"{migration.filename}: expected number {expected:04d}: one is missing or there twice")
    return tuple(found)


def pending(files: Sequence[Migration], applied: Iterable[Applied]) -> tuple[Migration, ...]:
    """What is left to run; raises MigrationError for a database this code must not touch."""
    known = {migration.version: migration for migration in files}
    done = {row.version for row in applied}
    for row in applied:
        migration = known.get(row.version)
        if migration is None:
            if "_contract_" in row.filename:
                raise MigrationError(
                    f"the database holds {row.filename}, which this version does not know: use a newer version"
                )
            if row.version <= len(files):
                raise MigrationError(f"the database holds {row.filename}, which is not among this version's files")
        elif migration.filename != row.filename:
            raise MigrationError(f"number {row.version:04d} ran as {row.filename}, here it is {migration.filename}")
        elif migration.checksum != row.checksum:
            raise MigrationError(f"{row.filename} was edited after it ran; undo the edit and write a new file")
    left = tuple(migration for migration in files if migration.version not in done)
    if left and done and left[0].version < max(done & set(known), default=0):
        raise MigrationError(f"{left[0].filename} never ran, but later ones did")
    return left
