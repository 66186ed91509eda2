from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.runtime.migrate import MIGRATIONS
from services.runtime.migrations import Applied, Migration, MigrationError, pending, read

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def made(*names: str) -> tuple[Migration, ...]:
    return tuple(Migration(int(n[:4]), n, "_contract_" in n, f"-- {n}") for n in names)


def applied(*migrations: Migration) -> list[Applied]:
    return [Applied(m.version, m.filename, m.checksum, NOW, 1) for m in migrations]


FILES = made("0001_expand_a.sql", "0002_expand_b.sql", "0003_contract_c.sql")


def test_pending() -> None:
    """What has not run, in order."""
    assert pending(FILES, []) == FILES
    assert pending(FILES, applied(*FILES[:1])) == FILES[1:]
    assert pending(FILES, applied(*FILES)) == ()


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (applied(*FILES, *made("0004_contract_d.sql")), "0004_contract_d.sql"),
        ([Applied(1, "0001_expand_a.sql", "0" * 64, NOW, 1)], "edited"),
        (applied(*made("0001_expand_other.sql")), "ran as"),
        (applied(FILES[0], FILES[2]), "never ran"),
    ],
)
def test_refused(rows: list[Applied], why: str) -> None:
    """S5: newer by a contract file, edited, renamed, skipped: E108."""
    with pytest.raises(MigrationError, match=why) as caught:
        pending(FILES, rows)
    assert caught.value.code == "E108"


def test_ahead_by_expand_is_fine() -> None:
    """Code N runs on schema N + 1."""
    assert pending(FILES, applied(*FILES, *made("0004_expand_d.sql"))) == ()


@pytest.mark.parametrize(
    "names",
    [
        ("0001_expand_a.sql", "0003_expand_c.sql"),
        ("0001_expand_a.sql", "0001_expand_b.sql"),
        ("0002_expand_a.sql",),
        ("1_expand_a.sql",),
        ("0001_drop_a.sql",),
    ],
)
def test_read_refuses(tmp_path: Path, names: tuple[str, ...]) -> None:
    """A number that is missing or there twice, a name out of form."""
    for name in names:
        (tmp_path / name).write_text("SELECT 1;")
    with pytest.raises(MigrationError):
        read(tmp_path)


def test_without_a_transaction() -> None:
    """Each statement alone; comments and text after the last one are none."""
    migration = Migration(
        1,
        "0001_expand_a.sql",
        contract=False,
        sql="-- no-transaction\nCREATE INDEX CONCURRENTLY a\n  ON b (c);\n-- x;\nSELECT 1;\n",
    )
    assert not migration.transactional
    assert migration.statements == ["CREATE INDEX CONCURRENTLY a\n  ON b (c)", "SELECT 1"]


def test_our_expand_files_only_expand() -> None:
    """reliability.md 6: an expand file never drops, renames, retypes or adds NOT NULL without a default."""
    forbidden = r"\bDROP\b|\bRENAME\b|\bALTER COLUMN\b.*\bTYPE\b|\bADD COLUMN\b(?!.*DEFAULT).*NOT NULL|\bSET NOT NULL\b"
    for migration in read(MIGRATIONS):
        code = re.sub(r"--.*", "", migration.sql)
        if not migration.contract:
            assert re.search(forbidden, code, re.IGNORECASE) is None, migration.filename
