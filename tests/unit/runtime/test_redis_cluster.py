from __future__ import annotations

import pytest

from services.core.limits import SLIDING, Limit
from services.runtime.limit_script import SPEND, limit_key, script_call
from services.runtime.redis_cluster import Redirect, SlotMap, ranges_of, redirect_of, slot_of
from services.runtime.resp import command


def test_slots() -> None:
    """The specification's own examples; all of a caller's keys are in one slot, whatever the command."""
    assert slot_of(command("GET", "123456789")) == 0x31C3
    assert slot_of(command("GET", "foo{}bar")) == slot_of(command("SET", "foo{}bar", "x"))
    assert slot_of(command("GET", "foo{{bar}}zap")) == slot_of(command("GET", "{bar"))
    assert slot_of(command("GET", "foo{bar}{zap}")) == slot_of(command("GET", "bar"))
    keys = [limit_key("key:a", "x"), limit_key("key:a", "y")]
    call = command("EVALSHA", *script_call(SPEND, 1, keys, [Limit(SLIDING, 100, 1000)] * 2))
    assert slot_of(call) == slot_of(command("ZREM", limit_key("key:a", "z"), "m")) == slot_of(command("GET", "key:a"))


def test_redirects() -> None:
    """Both kinds, IPv6, and a host left out."""
    assert redirect_of("MOVED 3999 127.0.0.1:6381") == Redirect(asking=False, slot=3999, address=("127.0.0.1", 6381))
    assert redirect_of("ASK 1 ::1:7000") == Redirect(asking=True, slot=1, address=("::1", 7000))
    assert redirect_of("MOVED 1 :7000") == Redirect(asking=False, slot=1, address=("", 7000))


@pytest.mark.parametrize(
    "error",
    ["", "MOVED", "MOVED somewhere", "MOVED 1 host", "MOVED x a:1", "MOVED 16384 a:1", "ASK 1 a:0", "ERR 1 a:1"],
)
def test_no_redirect(error: str) -> None:
    """What names no place leads nowhere."""
    assert redirect_of(error) is None


def test_ranges() -> None:
    """Primaries alone; an empty host is that of who says so; anything odd is nothing."""
    rows = [[0, 5, [b"a", 1, b"id", []], [b"replica", 2]], [6, 16383, [b"", 3]]]
    assert ranges_of(rows, "me") == [(0, 5, ("a", 1)), (6, 16383, ("me", 3))]
    for odd in (None, 1, [1], [[0, 5]], [[0, 5, [b"a"]]], [[5, 0, [b"a", 1]]], [[0, 5, [b"a", 0]]], [[0, 5, [7, 1]]]):
        assert ranges_of(odd, "me") is None


def test_the_map() -> None:
    """A slot is the last one's it was given to; who has none is forgotten."""
    slots: SlotMap[str] = SlotMap()
    slots.nodes = {("a", 1): "a", ("b", 1): "b"}
    data = command("GET", "123456789")
    assert slots.node(data) is None
    slots.give(0, 16383, "a")
    assert (slots.node(data), slots.unused()) == ("a", ["b"])
    assert slots.nodes == {("a", 1): "a"}
