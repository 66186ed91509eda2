from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.api.cache.local import MAX_ENTRY_BYTES, OVERHEAD_BYTES, Local
from services.core.cache import Entry


def entry(body: bytes = b"x", until: float = 1e9) -> Entry:
    return Entry(body, "", 0.0, until, until)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 3000), st.floats(0, 2)), max_size=80))
def test_old_fault_8b(steps: list[tuple[int, int, float]]) -> None:
    """L1 never holds more than its items and bytes, its byte count is right, and what has expired goes without being
    read.
    """
    local, now = Local(max_items=8, max_bytes=6000, ttl_s=5), 0.0
    for number, size, passed in steps:
        now += passed
        local.put("things", f"k{number}", entry(b"x" * size), now, 0.5)
        held = local._held
        assert len(local) <= 8
        assert local.bytes == sum(h.size for h in held.values()) <= 6000
        assert all(h.size == len(h.entry.body) + len(k) + OVERHEAD_BYTES for k, h in held.items())
    local.sweep(now + 5.6)
    assert (len(local), local.bytes) == (0, 0)


def test_lifetime_is_spread() -> None:
    """5 s ± 10 %, but never past the time in which the entry may be used at all."""
    local = Local(10, 10_000, 5)
    local.put("things", "low", entry(), 0, 0.0)
    local.put("things", "high", entry(), 0, 0.999)
    local.put("things", "short", entry(until=2), 0, 0.5)
    assert [local.get(k, 4.6) is not None for k in ("low", "high", "short")] == [False, True, False]
    assert local.get("high", 5.5) is None


def test_least_recently_used_goes_first() -> None:
    """Reading an entry keeps it; the one not read for longest makes room."""
    local = Local(2, 10_000, 5)
    local.put("things", "a", entry(), 0, 0)
    local.put("things", "b", entry(), 0, 0)
    local.get("a", 1)
    local.put("things", "c", entry(), 1, 0)
    assert [local.get(k, 1) is not None for k in "abc"] == [True, False, True]


def test_large_bodies_stay_out() -> None:
    """Nothing over 64 KiB, nothing over the whole bound; an older entry of that key goes all the same."""
    local = Local(10, 1 << 20, 5)
    local.put("things", "a", entry(), 0, 0)
    assert not local.put("things", "a", entry(b"x" * (MAX_ENTRY_BYTES + 1)), 0, 0)
    assert local.get("a", 0) is None


def test_namespaces() -> None:
    """Dropping one namespace leaves another whose name begins alike."""
    local = Local(10, 10_000, 5)
    for namespace in ("lists", "listsx", "list"):
        local.put(namespace, f"c:{namespace}", entry(), 0, 0)
    assert local.drop_namespace("lists") == 1
    assert local.entries() == {"listsx": 1, "list": 1}
