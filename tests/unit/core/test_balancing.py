"""Picking: what is eligible, who wins of two, and that shares come out as weights say."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.balancing import (
    P2C,
    PEAK_EWMA,
    ROUND_ROBIN,
    Chooser,
    Target,
    cheaper,
    faded_cost,
    faded_util,
    lighter,
    slow_start_weight,
    slowness,
)
from services.core.breaker import FAULT, Breaker, BreakerConfig

LATER = 1000.0  # every target is past its slow start


def target(name: str = "a", weight: float = 1.0, *, probation: bool = False) -> Target:
    one = Target(name, weight, 0.0)
    one.probation = probation
    return one


def fleet(*weights: float, policy: str = P2C) -> Chooser:
    chooser = Chooser(policy)
    chooser.replace([target(f"api-{number}", weight) for number, weight in enumerate(weights, 1)], LATER)
    return chooser


def shares(chooser: Chooser, requests: int, in_flight: int = 0, now: float = LATER) -> Counter[str]:
    """Who got how many of `requests`, with `in_flight` of them open at any time (equal service times, random order)."""
    rng = random.Random(7)
    counted: Counter[str] = Counter()
    flying: list[Target] = []
    for _ in range(requests):
        picked = chooser.pick(now, rng.random(), rng.random())
        assert picked is not None
        counted[picked.id] += 1
        picked.active += 1
        flying.append(picked)
        if len(flying) > in_flight:
            flying.pop(rng.randrange(len(flying))).active -= 1
    return counted


def test_old_fault_10b() -> None:
    """Sequential requests on idle endpoints: each within 20 % of its share over 300, also when they differ a little in
    load.
    """
    chooser = fleet(1, 1, 1)
    assert all(80 <= count <= 120 for count in shares(chooser, 300).values())
    for number, one in enumerate(chooser.targets):
        one.loaded(number * 0.02, LATER)
        one.took(0.001 * (number + 1), LATER, peak=False)
    chooser.refresh(LATER)
    assert all(80 <= count <= 120 for count in shares(chooser, 300).values())


def test_old_fault_10c() -> None:
    """Weights do not drift with uptime: a day later and after a million requests the unit is the same."""
    chooser = fleet(2, 1)
    units = [one.unit for one in chooser.targets]
    for one in chooser.targets:
        one.took(0.003, LATER + 86_400, peak=False)
    chooser.refresh(LATER + 86_400)
    assert [one.unit for one in chooser.targets] == units == [0.5, 1.0]


@pytest.mark.parametrize("in_flight", [0, 8, 64])
@pytest.mark.parametrize("weights", [(1, 1, 1), (3, 1, 1), (1, 2, 4, 8)])
def test_invariant_29_shares_follow_weights(weights: tuple[float, ...], in_flight: int) -> None:
    """Each target's share is within 10 % of its weight's, idle and busy."""
    counted = shares(fleet(*weights), 20_000, in_flight)
    for number, weight in enumerate(weights, 1):
        assert counted[f"api-{number}"] == pytest.approx(20_000 * weight / sum(weights), rel=0.1)


def test_invariant_28_equal_targets_split_evenly() -> None:
    """Chi-squared over eight idle equal targets stays below the 0.999 quantile (24.3 at 7 degrees of freedom)."""
    counted = shares(fleet(*[1.0] * 8), 8000)
    assert sum((count - 1000) ** 2 / 1000 for count in counted.values()) < 24.3


@given(st.integers(0, 50), st.integers(0, 50), st.floats(0.01, 20), st.floats(0.01, 20))
def test_invariant_28_the_cheaper_draw_wins(active: int, busy: int, unit: float, other_unit: float) -> None:
    """Never are both lighter; the lighter one carries less; with equal units fewer requests in flight are lighter."""
    one, other = target("a"), target("b")
    one.active, other.active, one.unit, other.unit = active, busy, unit, other_unit
    assert not (lighter(one, other) and lighter(other, one))
    if lighter(one, other):
        assert active * unit < busy * other_unit
    one.unit = other.unit
    assert lighter(one, other) == (active < busy)
    assert cheaper(one, other, outright=True) == (active < busy)


@pytest.mark.parametrize("weights", [(0.2, 6.7), (6.7, 0.2), (0.6, 0.3, 7.2), (1000.0, 1e-3)])
def test_draws_at_the_border_are_two_different_ones(weights: tuple[float, ...]) -> None:
    """Rounding never makes both draws the same target."""
    chooser = fleet(*weights)
    for first in (0.0, 0.5, 1 - 2**-53):
        for second in (0.0, 0.5, 1 - 2**-53):
            one, other = chooser._weighted_pair(first, second)
            assert one != other
            assert 0 <= min(one, other) <= max(one, other) < len(weights)


def test_saturated_targets_lose() -> None:
    """A target that says it is 95 % busy loses against any other draw, and may win again when that fades."""
    chooser = fleet(1, 1)
    busy, free = chooser.targets
    busy.loaded(0.95, LATER)
    free.active = 50
    assert all(chooser.pick(LATER, draw / 10, 0.5) is free for draw in range(10))
    chooser.refresh(LATER + 9.0)
    assert chooser.pick(LATER + 9.0, 0.5, 0.5) is busy


def test_a_slow_target_gets_little_and_is_tried_again() -> None:
    """Twenty times slower: at most 5 % of the requests; after a while without samples it is asked again."""
    chooser = fleet(1, 1, 1)
    for number, one in enumerate(chooser.targets):
        one.took(0.2 if not number else 0.01, LATER, peak=False)
    chooser.refresh(LATER)
    assert shares(chooser, 2000)["api-1"] <= 100
    for one in chooser.targets[1:]:
        one.took(0.01, LATER + 60, peak=False)
    chooser.refresh(LATER + 60)
    assert shares(chooser, 2000, now=LATER + 60)["api-1"] > 500


def test_cost_follows_answers() -> None:
    """p2c's cost is an EWMA over a second; peak_ewma's jumps to a peak and forgets it slowly."""
    one = target()
    one.took(0.1, 10.0, peak=False)
    assert one.cost == 0.1
    assert one.cost == 0.1
    one.took(0.2, 10.0 + 1.0, peak=False)
    assert one.cost == pytest.approx(0.1 * 0.3679 + 0.2 * 0.6321, rel=1e-3)
    one.took(9.0, 11.0005, peak=False)
    assert one.cost < 0.2  # too soon after the last sample
    one.took(1.0, 11.0, peak=True)
    assert one.cost == 1.0
    one.took(0.0, 21.0, peak=True)
    assert one.cost == pytest.approx(0.3679, rel=1e-3)


def test_formulas() -> None:
    """Slow start, fading and slowness at their corners."""
    assert [slow_start_weight(2.0, age) for age in (0.0, 15.0, 30.0, 90.0)] == [0.2, 1.0, 2.0, 2.0]
    assert faded_cost(0.8, 10.0) == 0.4
    assert faded_cost(0.8, -5.0) == 0.8
    assert [faded_util(0.5, age) for age in (0.0, 5.0, 10.0, 99.0)] == [0.5, 0.25, 0.0, 0.0]
    assert slowness(0.02, 0.01) == 1.0
    assert slowness(0.03, 0.01) == 3.0
    assert slowness(0.03, 0.0) == 300.0


@given(st.floats(0, 100), st.floats(0, 100))
def test_invariant_29_slow_start_is_monotone(age: float, more: float) -> None:
    """An older target never weighs less."""
    assert slow_start_weight(1.0, age) <= slow_start_weight(1.0, age + more)


def test_probation_is_one_request_at_a_time() -> None:
    """New and recovered targets take one request until the first success."""
    chooser = Chooser()
    one = target(probation=True)
    chooser.replace([one], LATER)
    assert chooser.pick(LATER, 0.1, 0.1) is one
    one.active = 1
    assert not one.takes(LATER)
    other = target("b")
    chooser.replace([one, other], LATER)
    assert {chooser.pick(LATER, draw / 10, 0.5) for draw in range(10)} == {other}
    other.probation, other.active = True, 2
    assert chooser.pick(LATER, 0.9, 0.5) is one  # nobody is refused for a probation: the emptier one takes it
    chooser.replace([one], LATER)
    one.probation = False
    assert chooser.pick(LATER, 0.1, 0.1) is one
    one.restart(LATER + 1)
    assert (one.probation, one.ready_at) == (True, LATER + 1)


def test_excluded_targets_are_last_resort() -> None:
    """A retry goes elsewhere; when all are excluded, to any of them."""
    chooser = fleet(1, 1, 1)
    first, second, third = chooser.targets
    for draw in range(20):
        assert chooser.pick(LATER, draw / 20, (draw * 7 % 20) / 20, (first, second)) is third
    assert chooser.pick(LATER, 0.4, 0.4, chooser.targets) in chooser.targets


def test_nobody_there() -> None:
    """No target, or none that takes a request: None."""
    chooser = Chooser()
    assert chooser.pick(LATER, 0.5, 0.5) is None
    assert chooser.soonest_s(LATER) == 0.0
    chooser = fleet(1, 1)
    for one in chooser.targets:
        one.blocked_until = LATER + 0.5
    assert chooser.pick(LATER, 0.5, 0.5) is None  # before the next refresh, too
    chooser.refresh(LATER)
    assert chooser.pick(LATER, 0.5, 0.5) is None


def test_soonest() -> None:
    """The first to come back decides, by breaker or connect backoff."""
    chooser = fleet(1, 1, 1)
    first, second, _ = chooser.targets
    first.breaker = Breaker("api-1", BreakerConfig(), LATER)
    for _ in range(5):
        first.breaker.record(first.breaker.admit(LATER), FAULT, LATER, 0.0)
    second.blocked_until = LATER + 40
    assert chooser.soonest_s(LATER) == pytest.approx(30.0)
    chooser.refresh(LATER)
    assert {chooser.pick(LATER, draw / 10, 0.5) for draw in range(10)} == {chooser.targets[2]}
    assert first.takes(LATER + 31)


def test_round_robin_takes_turns() -> None:
    """Each in turn, over those that take a request."""
    chooser = fleet(1, 1, 1, policy=ROUND_ROBIN)
    names = [picked.id for _ in range(6) if (picked := chooser.pick(LATER, 0.9, 0.9))]
    assert names == ["api-1", "api-2", "api-3"] * 2
    chooser.targets[1].blocked_until = LATER + 1
    names = [picked.id for _ in range(4) if (picked := chooser.pick(LATER, 0.9, 0.9))]
    assert names == ["api-1", "api-3"] * 2


def test_peak_ewma_prefers_the_faster() -> None:
    """Outright by latency times requests in flight."""
    chooser = fleet(1, 1, policy=PEAK_EWMA)
    fast, slow = chooser.targets
    fast.took(0.001, LATER, peak=True)
    slow.took(0.004, LATER, peak=True)
    chooser.refresh(LATER)
    assert chooser.pick(LATER, 0.9, 0.0) is fast
    fast.active = 4
    assert chooser.pick(LATER, 0.1, 0.0) is slow


@given(
    st.lists(
        st.tuples(st.floats(0.1, 50), st.integers(0, 3), st.booleans(), st.booleans(), st.floats(0, 60)),
        min_size=1,
        max_size=12,
    ),
    st.floats(0, 1, exclude_max=True),
    st.floats(0, 1, exclude_max=True),
    st.sets(st.integers(0, 11)),
    st.sampled_from([P2C, PEAK_EWMA, ROUND_ROBIN]),
)
def test_invariant_27(
    made: list[tuple[float, int, bool, bool, float]], first: float, second: float, out: set[int], policy: str
) -> None:
    """`pick` returns a target that takes a request, not an excluded one while another does, or there is none."""
    targets = []
    for number, (weight, active, probation, blocked, age) in enumerate(made):
        one = Target(f"api-{number}", weight, LATER - age)
        one.active, one.probation, one.blocked_until = active, probation, LATER + 1 if blocked else 0.0
        targets.append(one)
    chooser = Chooser(policy)
    chooser.replace(targets, LATER)
    excluded = tuple(one for number, one in enumerate(targets) if number in out)
    able = [one for one in targets if one.admits(LATER)]
    wanted = [one for one in able if one.takes(LATER) and one not in excluded]
    picked = chooser.pick(LATER, first, second, excluded)
    assert chooser.any_admits(LATER) == bool(able)
    if not able:
        assert picked is None
    else:
        assert picked in (wanted or able)
        assert picked not in excluded or all(one in excluded for one in able)


def test_one_late_answer_makes_nobody_slow() -> None:
    """A sample far above the cost counts when a second one follows: at once, or within two seconds whatever came
    between; a late answer long ago is forgotten.
    """
    one = target()
    one.took(0.001, 10.0, peak=False)
    one.took(0.5, 11.0, peak=False)
    assert one.cost == 0.001
    one.took(0.001, 12.0, peak=False)
    one.took(0.001, 13.5, peak=False)
    one.took(0.5, 14.0, peak=False)
    assert one.cost == pytest.approx(0.001)
    one.took(0.001, 15.0, peak=False)
    one.took(0.5, 15.5, peak=False)
    assert one.cost > 0.1


def test_a_target_twenty_times_slower_has_no_share_after_two_seconds() -> None:
    """Fifty requests a second over three: at most 5 % of those in the third second, counted from when it became slow."""
    chooser = fleet(1, 1, 1)
    slow, rng = chooser.targets[0], random.Random(5)
    late = 0
    for step in range(250):
        now = LATER + step / 50
        if step % 5 == 0:
            chooser.refresh(now)
        picked = chooser.pick(now, rng.random(), rng.random())
        assert picked is not None
        late += step >= 150 and picked is slow
        picked.took(0.1 if picked is slow and step >= 50 else 0.005, now, peak=False)
    assert late <= 5


def test_a_part_of_the_targets() -> None:
    """A chooser over some of another's targets: it picks among them alone, with the units the other has worked out."""
    whole = fleet(1, 1, 1)
    whole.targets[1].took(1.0, LATER, peak=False)
    whole.refresh(LATER)
    units = [one.unit for one in whole.targets]
    part = Chooser()
    part.adopt(whole.targets[:2], LATER)
    assert (whole.eligible, part.eligible) == (3, 2)
    assert whole.targets[2] not in {part.pick(LATER, draw / 10, 0.5) for draw in range(10)}
    assert [one.unit for one in whole.targets] == units
