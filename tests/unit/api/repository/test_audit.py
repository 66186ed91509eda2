from __future__ import annotations

from services.api.repository.audit import SQL


def test_only_the_function_appends() -> None:
    """No INSERT of ours: the chain is the database's."""
    assert [statement.sql.split("(")[0] for statement in SQL.values()] == ["SELECT audit_append"]
