"""Versions by share, targets by key."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.affinity import preferred, version_of
from services.core.balancing import Target


def targets(count: int) -> list[Target]:
    made = [Target(f"api-{number}", 1.0, 0.0) for number in range(count)]
    for one in made:
        one.probation = False
    return made


def test_versions_get_their_share_and_callers_stay() -> None:
    """10 % of many callers within a point; who is in the new version's tenth stays there when it grows."""
    keys = [b"key:%010d" % number for number in range(10_000)]
    small = [version_of(key, (("2", 10.0), ("1", 90.0))) for key in keys]
    assert Counter(small)["2"] == pytest.approx(1000, abs=100)
    grown = [version_of(key, (("2", 30.0), ("1", 70.0))) for key in keys]
    assert all(after == "2" for before, after in zip(small, grown, strict=True) if before == "2")
    assert version_of(b"x", (("1", 33.33), ("2", 66.0))) in {"1", "2"}
    assert {version_of(key, (("1", 0.0),)) for key in keys[:9]} == {"1"}  # rounding leaves nobody without


def test_only_the_keys_of_a_target_that_goes_move() -> None:
    """Ten targets, one leaves: the others' keys stay where they are; shares are even, or follow weights."""
    all_ten = targets(10)
    keys = [b"user-%d" % number for number in range(5000)]
    before = {key: preferred(key, all_ten, 1.0, ()) for key in keys}
    gone = all_ten[3]
    for key in keys:
        if before[key] is not gone:
            assert preferred(key, [one for one in all_ten if one is not gone], 1.0, ()) is before[key]
    counted = Counter(one.id for one in before.values() if one is not None)
    assert all(400 < count < 600 for count in counted.values())
    all_ten[0].weight = 3.0
    heavier = Counter(one.id for key in keys if (one := preferred(key, all_ten, 1.0, ())) is not None)
    assert heavier["api-0"] == pytest.approx(5000 * 3 / 12, rel=0.15)


@given(st.binary(min_size=1, max_size=20), st.lists(st.integers(0, 30), min_size=1, max_size=8))
def test_a_busy_target_is_passed_over(key: bytes, active: list[int]) -> None:
    """Never one with 1.25 times the mean and one more in flight, never an excluded or blocked one; None if none is
    left.
    """
    some = targets(len(active))
    for one, count in zip(some, active, strict=True):
        one.active = count
    bound = 1.25 * sum(active) / len(active) + 1
    found = preferred(key, some, 1.0, ())
    assert found is not None
    assert found.active < bound
    other = preferred(key, some, 1.0, (found,))
    assert other is not found
    for one in some:
        one.blocked_until = 2.0
    assert preferred(key, some, 1.0, ()) is None
    assert preferred(key, [], 1.0, ()) is None
