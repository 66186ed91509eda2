from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.fields import INT_MAX, Date, Item, Token, parse_item, parse_list, write_item, write_list

printable = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=12)
tokens = st.from_regex(r"[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]{0,8}", fullmatch=True).map(Token)
decimals = st.integers(-999_999_999_999_999, 999_999_999_999_999).map(lambda n: n / 1000)
integers = st.integers(-INT_MAX, INT_MAX)
bare = st.one_of(integers, decimals, printable, tokens, st.binary(max_size=9), st.booleans(), integers.map(Date))
keys = st.from_regex(r"[a-z*][a-z0-9_\-.*]{0,6}", fullmatch=True)
items = st.builds(Item, bare, st.dictionaries(keys, bare, max_size=3))


def same(one: Item, two: Item) -> bool:
    pairs = [(one.value, two.value), *zip(one.params.values(), two.params.values(), strict=True)]
    return list(one.params) == list(two.params) and all(
        type(a) is type(b) and (math.isclose(a, float(str(b)), abs_tol=1e-3) if isinstance(a, float) else a == b)
        for a, b in pairs
    )


@given(st.lists(items, max_size=5))
def test_what_is_written_parses(written: list[Item]) -> None:
    """Any list of items comes back, types included."""
    found = parse_list(write_list(written))
    assert found is not None
    assert len(found) == len(written)
    assert all(map(same, found, written))


@given(items)
def test_an_item_round_trips(item: Item) -> None:
    """A single item comes back, with spaces around it too."""
    found = parse_item(f" {write_item(item)} ")
    assert found is not None
    assert same(found, item)


@given(st.text(max_size=40))
def test_any_text_is_parsed_or_ignored(text: str) -> None:
    """Malformed fields are None, never an exception; what parses is written to something that parses to the same."""
    found = parse_list(text)
    if found is not None:
        again = parse_list(write_list(found))
        assert again is not None
        assert all(map(same, again, found))


def test_rate_limit_fields() -> None:
    """The draft's own shape."""
    text = '"free";r=950;t=57, "free-burst";r=499;t=1'
    found = parse_list(text)
    assert found == [Item("free", {"r": 950, "t": 57}), Item("free-burst", {"r": 499, "t": 1})]
    assert write_list(found or []) == text


def test_idempotency_key_is_a_string() -> None:
    """A bare word is a Token, not a String: the api tells them apart."""
    assert parse_item('"8e03978e-40d5"') == Item("8e03978e-40d5")
    assert parse_item('"a\\"b\\\\c"') == Item('a"b\\c')
    word = parse_item("abc")
    assert word is not None
    assert isinstance(word.value, Token)


def test_proxy_status_and_cache_status() -> None:
    """Tokens with parameters, true without a value."""
    status = Item(Token("gateway-7c9f"), {"error": Token("http_request_denied"), "details": "quota"})
    assert write_item(status) == 'gateway-7c9f;error=http_request_denied;details="quota"'
    assert parse_list("scalable-l2; hit; ttl=-12") == [Item(Token("scalable-l2"), {"hit": True, "ttl": -12})]


@pytest.mark.parametrize(
    "text",
    [
        "",
        ";a",
        '"open',
        '"\x7f"',
        "?2",
        "@",
        "@1.5",
        "1.",
        "1.2345",
        "1" * 16,
        ":a:",
        ":a b:",
        "a;B=1",
        "a;b=",
        "a, b",
        "é",
    ],
)
def test_malformed_items(text: str) -> None:
    """None of these is an item."""
    assert parse_item(text) is None


@pytest.mark.parametrize("text", ["a,", "a b", "a,,b", ",a", "a, "])
def test_malformed_lists(text: str) -> None:
    """None of these is a list; "a, " ends in a comma once stripped."""
    assert parse_list(text) is None


def test_lists_may_be_empty_and_tabbed() -> None:
    """Empty text is an empty list; tabs may stand around commas; the last of two equal parameters counts."""
    assert parse_list("") == []
    assert parse_list("a\t,\tb") == [Item(Token("a")), Item(Token("b"))]
    assert parse_item("a;x=1;y=2;x=3") == Item(Token("a"), {"y": 2, "x": 3})


@pytest.mark.parametrize(
    "item",
    [
        Item("é"),
        Item("a\nb"),
        Item(Token("1a")),
        Item(INT_MAX + 1),
        Item(Date(INT_MAX + 1)),
        Item(1e12),
        Item(float("nan")),
        Item(999_999_999_999.9999),
        Item(1, {"A": 1}),
    ],
)
def test_what_has_no_serialization(item: Item) -> None:
    """A value that no peer could parse is refused where it is written."""
    with pytest.raises(ValueError, match=r".+"):
        write_item(item)


def test_numbers_are_written_short() -> None:
    """At most three decimals, at least one."""
    assert [write_item(Item(n)) for n in (1.5, 2.0, -0.25, 1.23456, True, False)] == [
        "1.5",
        "2.0",
        "-0.25",
        "1.235",
        "?1",
        "?0",
    ]
