from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.api.cache.entry import decode, digest, encode, key
from services.core.cache import Entry

TEXTS = st.lists(st.text(max_size=8), max_size=4).map(tuple)


@given(TEXTS, TEXTS)
def test_digests_of_different_parameters_differ(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    """No two lists of parameters meet, wherever their borders lie."""
    assert (digest(one) == digest(other)) == (one == other)


def test_key() -> None:
    """Namespace, generation and code version stand before a hash of 128 bits: no parameter's character has a meaning."""
    assert key("lists", 7, digest(("*",))).split(":")[:4] == ["c", "lists", "7", "1"]
    assert len(digest(("a.b*",))) == 32


@given(st.binary(max_size=50), st.floats(0, 1e10), st.booleans())
def test_round_trip(body: bytes, at: float, negative: bool) -> None:
    """An entry comes back from L2 as it went."""
    entry = Entry(body, '"e"', at, at + 1, at + 2, 3.5, negative)
    assert decode(encode(entry)) == entry


def test_foreign_bytes_are_a_miss() -> None:
    """What is no entry is not an error."""
    assert [decode(raw) for raw in (b"", b"junk", b"\x93\x01\x02\x03", b"\xff" * 40)] == [None] * 4
