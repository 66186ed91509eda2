"""YAML, strictly: what is refused, how scalars read, where things stood."""

from __future__ import annotations

import pytest

from services.schema.documents import DocumentError, load


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("a: 1\nb: 2\na: 3\n", "'a' stands twice", 3),
        ("a: &x [1]\nb: *x\n", "aliases", 2),
        ("a: !!python/object:os.system x\n", "tags", 1),
        ("[" * 40, "nested deeper", 1),
        ("a: [1\n", "not YAML", 2),
        ("? [a]\n: 1\n", "plain word", 1),
        ("a: 1\n---\nb: 2\n", "not YAML", 2),
        ("a: \x01", "not YAML", 0),
    ],
)
def test_refused(text, message, line):
    """Each with a sentence and, where there is one, the line."""
    with pytest.raises(DocumentError, match=message) as error:
        load(text.encode(), max_bytes=1000)
    assert error.value.line == line


def test_too_long_and_not_text():
    """Bounded before it is parsed; UTF-8 only."""
    with pytest.raises(DocumentError, match="at most 3"):
        load(b"abcd", max_bytes=3)
    with pytest.raises(DocumentError, match="UTF-8 at byte 1"):
        load(b"a\xff", max_bytes=3)


def test_scalars_read_by_the_core_schema():
    """`off` is a word, `010` a number with a zero, a date text; quoted is always text; a long number is text."""
    value = load(
        b"[off, yes, 010, 2026-12-01, 1.5, '7', \"true\", true, False, ~, null, 1e3, .5, 0x1f, 1:30, .nan, "
        + b"9" * 19
        + b"]",
        max_bytes=1000,
    ).value
    assert value == [
        *("off", "yes", 10, "2026-12-01", 1.5, "7", "true", True, False, None, None, 1000.0, 0.5, "0x1f", "1:30"),
        ".nan",
        "9" * 19,
    ]


def test_places():
    """Line and column of each name and item; what was not written is where its parent is."""
    document = load(b"a:\n  b: [1, 2]\n", max_bytes=100)
    assert document.place(("a", "b")) == (2, 3)
    assert document.place(("a", "b", 1)) == (2, 10)
    assert document.place(("a", "c", "d")) == (1, 1)
    assert load(b"", max_bytes=1).place(("x",)) == (0, 0)
