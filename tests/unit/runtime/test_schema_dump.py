from __future__ import annotations

from services.runtime.migrate import SCHEMA
from services.runtime.schema_dump import HEAD


def test_schema_sql_has_the_head() -> None:
    """Whoever opens db/schema.sql learns that it is written, and from what; tests/integration/test_migrations.py
    compares the rest.
    """
    assert SCHEMA.read_text(encoding="utf-8").startswith(HEAD)
