from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from services.api.repository.resources import Resource
from services.api.resources import body, etag_of, number_of

NOW = datetime(2026, 1, 2, 3, 4, 5, 6789, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1),
        ("9223372036854775807", 2**63 - 1),
        ("9223372036854775808", None),
        ("0", None),
        ("007", None),
        ("-1", None),
        ("1.0", None),
        ("٣", None),
        ("²", None),
        ("1 ", None),
        ("9" * 5000, None),
    ],
)
def test_ids(text: str, number: int | None) -> None:
    """Decimal numbers that a bigint holds, written in the one usual way."""
    assert number_of(text) == number


def test_body() -> None:
    """Members in the contract's order; metadata as the database gave it; no content in lists."""
    row = Resource(7, "n", "document", "c", '{"b": [1.50, 1e2]}', 3, "u", None, NOW, NOW)
    assert list(json.loads(body(row))) == [
        "id",
        "name",
        "type",
        "content",
        "metadata",
        "createdBy",
        "updatedBy",
        "createdAt",
        "updatedAt",
    ]
    assert b'{"b": [1.50, 1e2]}' in body(row)
    assert etag_of(row) == '"7-3"'
    listed = Resource(7, "n", "document", None, "{}", 3, "u", None, NOW, NOW)
    assert "content" not in json.loads(body(listed))
