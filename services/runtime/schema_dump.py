"""The database's schema as text, the same on every machine: `db/schema.sql` is this text, `migrate verify` and a test
compare.

Without pg_dump, which the embedded Postgres may lack and whose output changes with its version. The text is runnable
SQL.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import asyncpg

HEAD: Final = (
    "-- The schema after all migrations. Written by `./dev generate schema` from a migrated database; do not edit.\n"
)
_SQL: Final = Path(__file__).with_name("sql") / "schema_dump.sql"


async def dump_schema(connection: asyncpg.Connection[asyncpg.Record]) -> str:
    """Tables, constraints, indexes, functions, views, triggers of schema public, each kind by name."""
    async with connection.transaction(readonly=True):
        await connection.execute("SET LOCAL search_path = public")
        rows = await connection.fetch(_SQL.read_text(encoding="utf-8"))
    return HEAD + "".join(f"\n{row['text']}\n" for row in rows)
