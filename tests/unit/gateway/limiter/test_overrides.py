from __future__ import annotations

from dataclasses import dataclass

import pytest

from services.gateway.limiter.overrides import Overrides


@dataclass
class Row:
    identifier: str
    requests_per_minute: int = 1
    burst_limit: int | None = None
    mode: str = "enforce"
    seconds_left: float | None = None


def found(
    table: Overrides, identifier: str = "key:a", owner: str = "user:u", client: str = "10.1.2.3", now: float = 0.0
) -> str:
    override = table.find(identifier, owner, client, now)
    return override.identifier if override else ""


def test_first_hit_wins() -> None:
    """key, owner, exact address, longest prefix, in this order."""
    rows = [Row("ip:10.0.0.0/8"), Row("ip:10.1.0.0/16"), Row("ip:10.1.2.3"), Row("user:u"), Row("key:a")]
    expected = ["key:a", "user:u", "ip:10.1.2.3", "ip:10.1.0.0/16", "ip:10.0.0.0/8", ""]
    for left, name in zip(range(5, -1, -1), expected, strict=True):
        assert found(Overrides(rows[:left])) == name


def test_expiry_is_checked_at_each_use() -> None:
    """An expired hit does not hide the next one."""
    table = Overrides(
        [Row("key:a", seconds_left=5.0), Row("user:u", seconds_left=9.0), Row("ip:10.0.0.0/8", seconds_left=20)], 100.0
    )
    assert [found(table, now=now) for now in (104.9, 105.0, 109.0, 120.0)] == ["key:a", "user:u", "ip:10.0.0.0/8", ""]


@pytest.mark.parametrize(
    ("identifier", "client", "hit"),
    [
        ("ip:2001:db8:1:2::/64", "2001:db8:1:2::9", True),
        ("ip:2001:db8::/32", "2001:db8:1:2::9", True),
        ("ip:2001:db8::/32", "10.1.2.3", False),
        ("ip:10.0.0.0/8", "::ffff:10.1.2.3", True),
        ("ip:nonsense/99", "10.1.2.3", False),
        ("ip:10.0.0.0/8", "unix", False),
    ],
)
def test_networks(identifier: str, client: str, hit: bool) -> None:
    """A /64 is an identifier, other prefixes are walked, families never mix, rubbish matches nothing."""
    table = Overrides([Row(identifier)])
    assert table.by_network
    assert bool(found(table, "key:x", "", client)) is hit
    assert bool(found(table, "key:x", "", client)) is hit


def test_mode_off_is_absent() -> None:
    """As a policy's mode is."""
    table = Overrides([Row("key:a", mode="off"), Row("user:u", mode="shadow")])
    override = table.find("key:a", "user:u", "", 0.0)
    assert override is not None
    assert (override.identifier, override.enforced, table.by_network) == ("user:u", False, False)
