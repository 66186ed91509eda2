from __future__ import annotations

import pytest

from services.runtime.resp import Target, command, target


def test_commands_are_arrays_of_bulk_strings() -> None:
    """Lengths are of bytes, not of characters."""
    assert command("GET", b"a\r\nb", "é") == b"*3\r\n$3\r\nGET\r\n$4\r\na\r\nb\r\n$2\r\n\xc3\xa9\r\n"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://localhost:6379/0", Target("", "localhost", 6379, ())),
        ("redis://", Target("", "localhost", 6379, ())),
        ("redis://:p%40ss@h:1/2", Target("", "h", 1, (command("AUTH", "p@ss"), command("SELECT", "2")))),
        ("redis://u:p@h", Target("", "h", 6379, (command("AUTH", "u", "p"),))),
        ("unix:///tmp/v.sock?db=3", Target("/tmp/v.sock", "", 0, (command("SELECT", "3"),))),
    ],
)
def test_urls(url: str, expected: Target) -> None:
    """Host, port or path, and what is said first there."""
    assert target(url) == expected


@pytest.mark.parametrize("url", ["rediss://h", "http://h", "redis://h/x"])
def test_other_urls_are_refused(url: str) -> None:
    """A URL we cannot follow is refused at start, not at the first request."""
    with pytest.raises(ValueError, match=r".+"):
        target(url)
