from __future__ import annotations

from pathlib import Path

import pytest

from services.runtime.statements import Statement, load, parse


def test_parse() -> None:
    """Text before the first heading is for readers; a statement's name carries its file's."""
    found = parse("-- about\n\n-- name: a\nSELECT 1;\n\n-- name: b_c\nSELECT\n    2\n", "x")
    assert found == {"a": Statement("x.a", "SELECT 1"), "b_c": Statement("x.b_c", "SELECT\n    2")}


@pytest.mark.parametrize("text", ["-- name: a\nSELECT 1\n-- name: a\nSELECT 2", "-- name: a\n\n-- name: b\nSELECT 1"])
def test_refused(text: str) -> None:
    """A name twice, a statement without text."""
    with pytest.raises(ValueError, match="statement a"):
        parse(text, "x")


def test_load(tmp_path: Path) -> None:
    """The file's name is the prefix."""
    file = tmp_path / "users.sql"
    file.write_text("-- name: one\nSELECT 1;")
    assert load(file)["one"].name == "users.one"
