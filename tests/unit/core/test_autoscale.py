"""The decision: operator.md §5's worked example, every step by direct calls, and the invariants P1-P11 of §14."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.core import autoscale
from services.core.autoscale import (
    Counts,
    Decision,
    Inputs,
    Memory,
    Metric,
    MetricRecord,
    Policy,
    Record,
    Ring,
    Rules,
    Side,
    Step,
    Window,
    changed,
    decide,
    replay,
)

IN_FLIGHT = Metric("in-flight", "sum", 20_000)
LATENCY = Metric("latency", "ratio", 100_000)
RULES = Rules((IN_FLIGHT,), minimum=2, maximum=20)
OLD = -1_000_000_000


def window(now_ms: int, *values: Any, fresh: int = 4, ready: int = 4, missing: bool = False) -> Window:
    """A window whose latest seconds hold `values` (or (low, high) pairs), the newest last."""
    ring = Ring(3_600_000)
    for back, value in enumerate(reversed(values)):
        low, high = value if isinstance(value, tuple) else (value, value)
        ring.push(now_ms - back * 1000, low, high)
    return Window(ring if values else None, fresh, ready, missing)


def once(
    load_milli: int,
    *,
    replicas: int = 4,
    rules: Rules = RULES,
    memory: Memory | None = None,
    now_ms: int = 10_000_000,
    name: str = "in-flight",
    **counts: Any,
) -> Decision:
    """One decision over a window that always held `load_milli`."""
    seen = Counts(**{"ready": replicas, "replicas": replicas, **counts})
    windows = {name: window(now_ms, *[load_milli] * 60)}
    return decide(now_ms, seen, windows, rules, memory or Memory(OLD))


class World:
    """Replicas that are ready at once, drained in batches of a quarter each second: time passes by `tick`."""

    def __init__(
        self, rules: Rules, replicas: int, *, since_ms: int = OLD, name: str = "in-flight", history: Any = ()
    ) -> None:
        self.rules, self.replicas, self.name = rules, replicas, name
        self.memory, self.now_ms, self.ring = Memory(since_ms), 0, Ring(rules.stable_ms)
        for back, value in enumerate(reversed(history)):
            self.ring.push(-back * 1000, value, value)
        self.finals: list[int] = []

    def tick(
        self, load: int, counts: Counts | None = None, *, missing: bool = False, seconds: int = 1, carry: bool = True
    ) -> Decision:
        for _ in range(seconds):
            self.now_ms += 1000
            if not missing:
                self.ring.push(self.now_ms, load, load)
            seen = counts or Counts(ready=self.replicas, replicas=self.replicas)
            found = decide(
                self.now_ms,
                seen,
                {self.name: Window(self.ring, seen.ready, seen.ready, missing)},
                self.rules,
                self.memory,
            )
            self.memory = found.memory
            self.finals.append(found.final)
            step = max(found.final - self.replicas, -max(1, -(-self.replicas // 4)))
            if carry and step:
                self.memory = changed(self.memory, self.now_ms, step)
                self.replicas += step
        return found


# ------------------------------------------------------------------------------------------------- the worked example


def test_the_worked_example():
    """operator.md §5.7: 4 replicas, 64 in flight; 320 from t = 0; 40 from t = 200 s."""
    world = World(RULES, 4, history=[64_000] * 60)
    first = world.tick(320_000).record
    assert [first.metrics[0].stable, first.metrics[0].panic, first.metrics[0].recent] == [68_300, 107_000, 192_000]
    assert (first.final, first.inputs.in_panic, first.reason) == (4, False, "WithinTolerance")
    second = world.tick(320_000).record
    assert [second.metrics[0].stable, second.metrics[0].panic, second.metrics[0].recent] == [72_500, 149_000, 320_000]
    assert (second.raw, second.final, second.direction, second.reason) == (16, 16, "Up", "Panic")
    assert (second.inputs.up_limit, second.inputs.down_limit, second.inputs.in_panic) == (20, 2, True)
    assert second.steps == (Step("Metrics", 4, 16),)
    assert second.not_before_ms == world.now_ms + 300_000
    assert world.tick(320_000, seconds=59).record.inputs.in_panic is True
    ended = world.tick(320_000).record
    assert (world.now_ms, ended.inputs.in_panic, ended.final) == (62_000, False, 16)
    assert world.tick(320_000, seconds=138).final == 16
    held = world.tick(40_000, seconds=15).record
    assert (world.now_ms, held.metrics[0].stable, held.raw, held.final) == (215_000, 250_000, 13, 16)
    assert (held.reason, held.inputs.held_down) == ("Stabilized", 16)
    assert world.tick(40_000, seconds=290).final == 16
    down = world.tick(40_000).record
    assert (world.now_ms, down.final, down.direction) == (506_000, 15, "Down")
    assert world.tick(40_000, seconds=14).final == 15
    assert world.tick(40_000).record.inputs.down_limit == 8
    assert world.tick(40_000, seconds=75).final == 2
    assert world.replicas == 2


# ------------------------------------------------------------------------------------------------------ step by step


def test_three_digits_round_half_up():
    """Loads are compared as they are recorded: three significant digits."""
    assert [autoscale.three_digits(*pair) for pair in ((68_266, 1), (72_533, 1), (7, 2), (0, 3), (999_500, 1))] == [
        68_300,
        72_500,
        4,
        0,
        1_000_000,
    ]


def test_a_ring_forgets_and_has_holes():
    """Only what is within the span counts; an empty span has no mean."""
    ring = Ring(3000)
    ring.push(1000, 10, 20)
    ring.push(3000, 30, 40)
    assert ring.mean(3000, 3000) == (20, 30)
    assert ring.mean(3000, 1000) == (30, 40)
    assert ring.mean(9000, 3000) is None
    ring.push(9000, -(10**30), 10**30)
    assert ring.mean(9000, 1000) == (-4_600_000_000_000_000_000, 4_610_000_000_000_000_000)


def test_no_metrics_hold():
    """A component without metrics stays as it is, inside its bounds."""
    assert once(0, rules=replace(RULES, metrics=())).final == 4


def test_partial_data_raises_by_what_is_seen_and_lowers_by_what_may_be():
    """Missing pods count as 0 to raise and as the target to lower."""
    now = 10_000_000
    rules = replace(RULES, down=replace(RULES.down, stabilization_ms=0))

    def final(low: int, high: int) -> int:
        seen = Counts(ready=4, replicas=4)
        return decide(now, seen, {"in-flight": window(now, *[(low, high)] * 60, fresh=3)}, rules, Memory(OLD)).final

    assert final(100_000, 120_000) == 5
    assert final(60_000, 80_000) == 4
    assert final(30_000, 50_000) == 3


@pytest.mark.parametrize(
    ("load", "starting", "raised_ms", "final"),
    [
        (100_000, 0, OLD, 4),
        (200_000, 0, OLD, 8),
        (900_000, 0, OLD, 8),
        (150_000, 1, 9_995_000, 5),
        (150_000, 1, OLD, 8),
        (10_000, 0, OLD, 2),
    ],
)
def test_ratio(load, starting, raised_ms, final):
    """At most doubled or halved; not raised again while those that start are young; tolerance holds."""
    rules = replace(RULES, metrics=(LATENCY,), down=replace(RULES.down, stabilization_ms=0))
    memory = replace(Memory(OLD), raised_ms=raised_ms)
    found = once(load, rules=rules, memory=memory, name="latency", ready=4, starting=starting, replicas=4 + starting)
    assert found.final == final


def test_the_highest_proposal_wins():
    """Several metrics: one that asks for more than the others is followed."""
    now = 10_000_000
    rules = replace(RULES, metrics=(IN_FLIGHT, Metric("rps", "sum", 10_000)))
    windows = {"in-flight": window(now, *[100_000] * 60), "rps": window(now, *[120_000] * 60)}
    assert decide(now, Counts(ready=5, replicas=5), windows, rules, Memory(OLD)).record.raw == 12


def test_panic_keeps_the_highest_proposal():
    """Within a panic the number never falls, even when the load does at once."""
    world = World(RULES, 4, history=[64_000] * 60)
    world.tick(320_000, seconds=2)
    assert world.replicas == 16
    assert world.tick(0, seconds=20, carry=False).record.inputs.panic_floor == 16
    assert set(world.finals[1:]) == {16}


def test_fallback_begins_after_a_while_and_ends_after_three_fresh_ticks():
    """Every metric missing for `after`: HoldOrHigher raises; three fresh ticks end it."""
    world = World(replace(RULES, fallback_replicas=6), 4, history=[64_000] * 60)
    waiting = world.tick(0, missing=True, seconds=30, carry=False)
    assert (waiting.final, waiting.record.reason, waiting.fallback_started) == (4, "MetricsMissing", False)
    started = world.tick(0, missing=True, carry=False)
    assert (started.final, started.record.reason, started.fallback_started) == (6, "Fallback", True)
    world.replicas = 6
    held = world.tick(0, missing=True)
    assert (held.final, held.record.reason, held.fallback_started) == (6, "Fallback", False)
    assert not world.tick(110_000, seconds=2, carry=False).fallback_ended
    assert world.tick(110_000, carry=False).fallback_ended


def test_hold_falls_back_to_what_is_there():
    """Without fallback.replicas nothing moves."""
    world = World(RULES, 4)
    assert world.tick(0, missing=True, seconds=40).record.reason == "Fallback"
    assert world.replicas == 4


def test_settling_lowers_nothing():
    """A controller that just began does not know what was needed before: no decrease, not even by the cap."""
    found = once(0, replicas=30, memory=Memory(9_900_000))
    assert (found.final, found.record.reason) == (30, "Settling")
    assert found.record.not_before_ms == 10_000_000 + 300_000  # what it kept counts as needed


def test_increases_can_be_stabilized():
    """scaleUp.stabilizationWindow: the least of the window counts, at least committed."""
    up = replace(RULES.up, stabilization_ms=60_000)
    memory = replace(Memory(OLD), results=((9_990_000, 5),))
    found = once(200_000, rules=replace(RULES, up=up), memory=memory)
    assert (found.final, found.record.reason) == (5, "Stabilized")


@pytest.mark.parametrize(
    ("side", "expected"),
    [
        (Side(5, 0, "Max", autoscale.UP_POLICIES), 20),
        (Side(5, 0, "Min", autoscale.UP_POLICIES), 12),
        (Side(5, 0, "Disabled", autoscale.UP_POLICIES), 4),
        (Side(5, 0, "Max", ()), 1000),
    ],
)
def test_up_limit(side, expected):
    """Max = the widest, Min = the tightest, Disabled = no move, none = no limit."""
    assert autoscale.up_limit(0, 4, side, ()) == expected


@pytest.mark.parametrize(
    ("select", "policies", "committed", "changes", "expected"),
    [
        ("Max", (Policy("Percent", 50, 15_000),), 15, (), 8),
        ("Max", (Policy("Percent", 50, 15_000), Policy("Pods", 2, 15_000)), 15, (), 8),
        ("Min", (Policy("Percent", 50, 15_000), Policy("Pods", 2, 15_000)), 15, (), 13),
        ("Max", (Policy("Percent", 10, 15_000),), 3, (), 2),
        ("Max", (Policy("Percent", 50, 15_000),), 8, ((-14_000, -7),), 8),
        ("Max", (Policy("Percent", 50, 15_000),), 8, ((-15_000, -7),), 4),
        ("Max", (Policy("Pods", 9, 15_000),), 4, (), 0),
        ("Disabled", (), 4, (), 4),
        ("Max", (), 4, (), 0),
    ],
)
def test_down_limit(select, policies, committed, changes, expected):
    """Own changes within the period count; one replica may always go."""
    assert autoscale.down_limit(0, committed, Side(10, 0, select, policies), changes) == expected


def test_a_decrease_stands_for_its_period():
    """The latch: carried out in batches, not lowered further within the period, raised at any time."""
    rules = replace(RULES, minimum=1, down=replace(RULES.down, stabilization_ms=0))
    world = World(rules, 16, history=[320_000] * 60)
    world.tick(320_000, seconds=5)
    world.ring = Ring(rules.stable_ms)
    assert world.tick(0).final == 8
    assert [world.tick(0).final for _ in range(5)] == [8] * 5
    assert world.memory.latch == 8
    world.ring = Ring(rules.stable_ms)
    assert world.tick(600_000).final > 8


def test_stuck_starts_stop_increases():
    """Pods that do not come up are not piled upon."""
    found = once(200_000, starting=1, ready=3, stuck=True)
    assert (found.final, found.record.reason) == (4, "StartsPending")


def test_an_unfinished_rollout_lowers_nothing():
    """Not by the load, not by the cap; the reason says so."""
    rules = replace(RULES, down=replace(RULES.down, stabilization_ms=0))
    found = once(0, replicas=25, rules=rules, rollout=True)
    assert (found.final, found.record.reason) == (25, "RolloutInProgress")


@pytest.mark.parametrize(
    ("replicas", "load", "final", "reason"),
    [
        (20, 900_000, 20, "AtMaximum"),
        (25, 500_000, 20, "AtMaximum"),
        (0, 0, 2, "AtMinimum"),
        (1, 20_000, 2, "AtMinimum"),
    ],
)
def test_bounds_hold_at_once(replicas, load, final, reason):
    """A lowered cap and a raised floor are not stabilized; a workload seen first gets its floor."""
    found = once(load, replicas=replicas)
    assert (found.final, found.record.reason) == (final, reason)


@pytest.mark.parametrize(("replicas", "load", "reason"), [(20, 900_000, "ScheduleCap"), (1, 20_000, "ScheduleFloor")])
def test_bounds_of_the_schedule_are_named(replicas, load, reason):
    """The same step, for another reason."""
    assert once(load, replicas=replicas, rules=replace(RULES, scheduled="floor,cap")).record.reason == reason


@pytest.mark.parametrize(
    ("replicas", "load", "cap", "final", "reason"),
    [
        (4, 160_000, 6, 6, "BudgetCapped"),
        (4, 160_000, 0, 4, "BudgetCapped"),
        (4, 160_000, 9, 8, "Panic"),
        (0, 0, 0, 2, "AtMinimum"),
        (4, 75_000, 1, 4, "WithinTolerance"),
    ],
)
def test_the_budget_cuts_increases_alone(replicas, load, cap, final, reason):
    """Never below what there is, never below the floor."""
    found = once(load, replicas=replicas, rules=replace(RULES, budget_cap=cap))
    assert (found.final, found.record.reason) == (final, reason)


def test_pause_beats_load_floor_and_cap():
    """Each direction by itself; Manual obeys too."""
    up, down = replace(RULES, paused_up=True), replace(RULES, paused_down=True)
    assert (once(200_000, rules=up).final, once(200_000, rules=up).record.reason) == (4, "Paused")
    assert once(0, rules=up, replicas=1).final == 1
    assert once(0, rules=down, replicas=25).final == 25
    assert once(200_000, rules=down).final > 4
    manual = replace(RULES, mode="Manual", manual_replicas=9, paused_up=True)
    assert once(0, rules=manual).final == 4


def test_modes():
    """Manual takes its number, floor or not, or holds; Recommend and Conflicted never act but say what Auto would."""
    assert once(0, rules=replace(RULES, mode="Manual", manual_replicas=30)).final == 30
    held = once(200_000, rules=replace(RULES, mode="Manual"))
    assert (held.final, held.record.recommended, held.record.reason) == (4, 10, "Manual")
    advised = once(200_000, rules=replace(RULES, mode="Recommend"))
    assert (advised.final, advised.record.recommended, advised.record.reason) == (4, 10, "Recommending")
    rival = once(200_000, conflicted=True)
    assert (rival.final, rival.record.reason) == (4, "Conflicted")


def test_reasons_of_plain_moves():
    """Without a rule in the way the load is the reason."""
    rules = replace(RULES, down=replace(RULES.down, stabilization_ms=0))
    assert once(90_000).record.reason == "LoadAboveTarget"
    assert once(50_000, rules=rules).record.reason == "LoadBelowTarget"
    assert once(500_000, rules=replace(RULES, up=Side(5, 0, "Max", (Policy("Pods", 1, 15_000),)))).record.reason == (
        "PolicyLimited"
    )
    assert once(70_000, rules=rules, replicas=4).record.not_before_ms is None


def test_start_times_are_learned():
    """EWMA 0.3 over what each new replica took."""
    assert once(0, start_times_ms=(20_000,)).memory.start_ms == 13_000


def test_changes_are_forgotten_after_the_longest_period():
    """Half an hour; an increase is remembered as such."""
    memory = changed(changed(Memory(0), 0, 3), 1_800_000, -1)
    assert (memory.changes, memory.raised_ms) == (((1_800_000, -1),), 0)


# --------------------------------------------------------------------------------------------------------- invariants

LOADS = st.integers(0, 400_000)
SIDES = st.builds(
    Side,
    st.integers(0, 50),
    st.sampled_from([0, 5000, 30_000]),
    st.sampled_from(["Max", "Min", "Disabled"]),
    st.lists(
        st.builds(Policy, st.sampled_from(["Percent", "Pods"]), st.integers(1, 400), st.sampled_from([1000, 15_000])),
        max_size=3,
    ).map(tuple),
)
RULE_SETS = st.builds(
    Rules,
    metrics=st.sampled_from([(IN_FLIGHT,), (replace(LATENCY, name="in-flight"),)]),
    minimum=st.integers(1, 5),
    maximum=st.integers(5, 30),
    mode=st.sampled_from(["Auto", "Auto", "Auto", "Manual", "Recommend"]),
    manual_replicas=st.none() | st.integers(0, 40),
    paused_up=st.booleans(),
    paused_down=st.booleans(),
    stable_ms=st.sampled_from([6000, 12_000]),
    panic_ms=st.sampled_from([2000, 3000]),
    up=SIDES,
    down=SIDES,
    fallback_after_ms=st.just(5000),
    fallback_replicas=st.none() | st.integers(1, 10),
    scheduled=st.sampled_from(["", "floor", "cap"]),
    budget_cap=st.none() | st.integers(0, 30),
)
COUNTS = st.builds(
    Counts,
    ready=st.integers(0, 20),
    starting=st.integers(0, 3),
    pending=st.integers(0, 3),
    draining=st.integers(0, 3),
    replicas=st.integers(0, 30),
    stuck=st.booleans(),
    rollout=st.booleans(),
    conflicted=st.booleans(),
)
TRACES = st.lists(st.none() | LOADS, min_size=1, max_size=25)


def walk(rules: Rules, counts: Counts, trace: list[int | None], since_ms: int = OLD) -> list[Decision]:
    """Every decision along a trace in which nothing is carried out; None = no data."""
    world = World(rules, counts.replicas, since_ms=since_ms)
    return [world.tick(load or 0, counts, missing=load is None, carry=False) for load in trace]


@settings(max_examples=150, deadline=None)
@given(RULE_SETS, COUNTS, TRACES)
def test_p8_the_record_recomputes_also_after_json(rules, counts, trace):
    """replay(record) = final, whatever led there."""
    for decision in walk(rules, counts, trace):
        raw = json.loads(json.dumps(asdict(decision.record)))
        back = Record(
            **{
                **raw,
                "inputs": Inputs(**raw["inputs"]),
                "metrics": tuple(MetricRecord(**m) for m in raw["metrics"]),
                "steps": tuple(Step(**s) for s in raw["steps"]),
            }
        )
        assert back == decision.record
        assert replay(replace(back, raw=0, final=0, recommended=0, steps=())) == decision.record


@settings(max_examples=150, deadline=None)
@given(RULE_SETS, COUNTS, TRACES)
def test_p1_p6_p10_p11_bounds_panic_pause_modes(rules, counts, trace):
    """Floor and cap hold unless paused, Manual, settling, rolling; panic never lowers; a pause beats all."""
    for decision in walk(rules, counts, trace):
        record, committed = decision.record, counts.committed
        free = not (rules.paused_up or rules.paused_down or counts.rollout or counts.conflicted)
        if free and rules.mode == "Auto":
            assert rules.minimum <= record.final <= rules.maximum
        if record.inputs.in_panic and rules.mode == "Auto" and committed <= rules.maximum:
            assert record.final >= committed
        if rules.paused_up:
            assert record.final <= committed
        if rules.paused_down:
            assert record.final >= committed
        if rules.mode == "Recommend" or counts.conflicted:
            assert record.final == committed


@settings(max_examples=100, deadline=None)
@given(RULE_SETS, COUNTS, st.lists(LOADS, min_size=1, max_size=12), LOADS)
def test_p2_more_load_never_gives_fewer(rules, counts, trace, more):
    """The same past with a higher present asks for at least as many."""
    low = walk(rules, counts, trace)[-1].record
    high = walk(rules, counts, [*trace[:-1], trace[-1] + more])[-1].record
    assert high.final >= low.final


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(75_000, 82_000), min_size=5, max_size=60))
def test_p3_noise_inside_the_tolerance_moves_nothing(trace):
    """Four replicas at 20 each: anything between 72 and 84 is theirs."""
    assert {d.final for d in walk(RULES, Counts(ready=4, replicas=4), trace)} == {4}


def test_p3_a_sawtooth_turns_once_per_stabilization_window():
    """Load that swings every half minute leaves the count at what the peaks need."""
    world = World(RULES, 4, history=[64_000] * 60)
    for _ in range(10):
        world.tick(200_000, seconds=30)
        world.tick(20_000, seconds=30)
    turns = [b for a, b in zip(world.finals, world.finals[1:], strict=False) if b < a]
    assert len(turns) <= 1


@settings(max_examples=100, deadline=None)
@given(RULE_SETS, COUNTS, TRACES)
def test_p4_missing_data_never_lowers(rules, counts, trace):
    """A tick without data asks for no decrease, whatever was seen before."""
    rules = replace(rules, mode="Auto")
    last = walk(rules, counts, [*trace, None])[-1].record
    assert last.final >= min(counts.committed, rules.maximum)


@settings(max_examples=100, deadline=None)
@given(RULE_SETS, COUNTS, TRACES)
def test_p5_a_restart_lowers_nothing_while_settling(rules, counts, trace):
    """A memory that begins now: no decrease before it has watched long enough (Manual apart)."""
    rules = replace(rules, mode="Auto")
    for decision in walk(rules, counts, trace, since_ms=0):
        if decision.record.inputs.settling:
            assert decision.final >= counts.committed


@settings(max_examples=100, deadline=None)
@given(RULE_SETS, COUNTS, TRACES, st.integers(0, 30))
def test_p12_a_budget_never_lowers(rules, counts, trace, cap):
    """With and without it: a decrease is the same, an increase at most cut to what there is."""
    free = walk(replace(rules, budget_cap=None), counts, trace)[0].record
    capped = walk(replace(rules, budget_cap=cap), counts, trace)[0].record
    assert capped.final >= min(free.final, counts.committed)
    assert capped.final <= free.final


@settings(max_examples=60, deadline=None)
@given(RULE_SETS, st.lists(LOADS, min_size=10, max_size=40))
def test_p7_policies_hold_over_every_window_of_a_period(rules, trace):
    """Carried out as decided: against the count of one period ago, no change is more than `select` allows."""
    free = {"paused_up": False, "paused_down": False, "fallback_replicas": None, "budget_cap": None}
    rules = replace(rules, mode="Auto", minimum=1, maximum=1000, **free)
    world = World(rules, 5)
    levels = [5]
    for load in trace:
        world.tick(load)
        levels.append(world.replicas)
    for now in range(1, len(levels)):
        before, after = levels[now - 1], levels[now]
        side = rules.up if after > before else rules.down
        bases = [levels[max(0, now - policy.period_ms // 1000)] for policy in side.policies]
        limit = autoscale.up_limit if after > before else autoscale.down_limit
        allowed = [
            limit(0, base, replace(side, policies=(p,)), ()) for base, p in zip(bases, side.policies, strict=True)
        ]
        if after > before and allowed:
            assert after <= (max(allowed) if side.select == "Max" else min(allowed))
        if after < before and allowed:
            assert after >= (min(allowed) if side.select == "Max" else max(allowed))
        if after != before:
            assert side.select != "Disabled" or after == rules.minimum


@settings(max_examples=60, deadline=None)
@given(COUNTS, LOADS, LOADS, st.permutations([0, 1]))
def test_p9_the_order_of_metrics_does_not_matter(counts, first, second, order):
    """Metrics in another order: the same decision."""
    metrics = (Metric("a", "sum", 20_000), Metric("b", "sum", 10_000))
    now = 10_000_000
    windows = {"a": window(now, *[first] * 20), "b": window(now, *[second] * 20)}
    plain = decide(now, counts, windows, Rules(metrics), Memory(OLD))
    turned = decide(now, counts, windows, Rules(tuple(metrics[i] for i in order)), Memory(OLD))
    assert plain.final == turned.final
