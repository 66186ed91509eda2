from __future__ import annotations

import pytest

from services.api.conditional import match, none_match


@pytest.mark.parametrize(
    ("header", "have", "may"),
    [
        (None, False, True),
        ("*", True, True),
        ('"1-2"', True, True),
        ('"1-2-gz"', True, True),
        ('W/"1-2"', True, False),
        ('"1-1", "1-2"', True, True),
        ('"1-1" ,W/"1-2"', True, False),
        ('"1-1"', False, False),
        ('"1-20"', False, False),
        ("1-2", False, False),
        ('"1-2', False, False),
        ('"1-2" "1-3"', False, False),
        ("", False, False),
    ],
)
def test_conditions(header: str | None, have: bool, may: bool) -> None:
    """If-None-Match compares weakly, If-Match strongly, both ignore -gz; a malformed one never lets a change through."""
    assert none_match(header, '"1-2"') is have
    assert match(header, '"1-2"') is may
