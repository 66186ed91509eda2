"""Outlier ejection: who stands out, for how long, and how many at most."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.outlier import Sample, after_clean_interval, ejection_seconds, judge, may_be_away


def samples(*failures: int, requests: int = 100) -> list[Sample]:
    return [Sample(f"api-{number}", requests, failed, 0) for number, failed in enumerate(failures, 1)]


def test_old_fault_10a() -> None:
    """An api that answers 500 to everything is ejected, its sound peers are not."""
    found = judge(samples(100, 0, 0, 0, 0), room=2)
    assert [ejection.id for ejection in found] == ["api-1"]
    assert (found[0].seconds, found[0].rate) == (30.0, 0.0)
    assert found[0].threshold == pytest.approx(0.04)


def test_too_few_to_judge() -> None:
    """Fewer than five targets with a hundred requests say nothing; without room nobody goes."""
    assert judge(samples(100, 0, 0, 0), room=2) == ()
    assert judge([*samples(100, 0, 0, 0), Sample("idle", 99, 0, 0)], room=2) == ()
    assert judge(samples(100, 0, 0, 0, 0), room=0) == ()


def test_equals_are_left_alone() -> None:
    """All bad alike is no outlier."""
    assert judge(samples(50, 50, 50, 50, 50), room=5) == ()


def test_times_in_a_row() -> None:
    """30 s for each time in a row, 300 s at most; one less per clean interval."""
    assert [ejection_seconds(times) for times in (1, 2, 10, 50)] == [30.0, 60.0, 300.0, 300.0]
    assert [after_clean_interval(times) for times in (3, 1, 0)] == [2, 0, 0]


def test_cap() -> None:
    """Half of them by default, one always."""
    assert [may_be_away(total, 50) for total in (0, 1, 2, 3, 4, 10)] == [1, 1, 1, 1, 2, 5]


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400)), max_size=30), st.integers(0, 10))
def test_invariant_31(counts: list[tuple[int, int]], room: int) -> None:
    """Never more than the room, worst first, only judged ones, each below the threshold."""
    given_samples = [Sample(str(i), requests, min(failed, requests), 0) for i, (requests, failed) in enumerate(counts)]
    found = judge(given_samples, room)
    assert len(found) <= room
    assert [ejection.rate for ejection in found] == sorted(ejection.rate for ejection in found)
    assert all(ejection.rate < ejection.threshold for ejection in found)
    assert all(given_samples[int(ejection.id)].requests >= 100 for ejection in found)
