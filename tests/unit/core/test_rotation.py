"""The rotation's moves by direct calls, the comparison of a canary, and P14 over any trace of answers and crashes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.core.rotation import (
    BREACH_MS,
    IGNORED_MS,
    Live,
    Move,
    State,
    Sums,
    Tally,
    Trial,
    Wish,
    plan,
    verdict,
    watch,
)

TRIAL = Trial(percent=10, hold_ms=120_000, min_requests=100, reject_over=5, error_over=1, p95_over=50)
ACTIVE = State(active="old")
FOUR = Live(("g1", "g2", "g3", "g4"), acked=True)
CANARY = State("Canary", 0, "old", "new", ("g1",))


@pytest.mark.parametrize(
    ("wish", "move"),
    [
        (Wish("new"), Move("Roll", "RollingOut")),
        (Wish("new", trial=TRIAL), Move("Canary", "Canary", ("g1",))),
        (Wish("new", trial=replace(TRIAL, percent=50)), Move("Canary", "Canary", ("g1", "g2"))),
        (Wish("new", at_ms=5, trial=TRIAL), Move("Wait", "Scheduled")),
        (Wish("new", at_ms=5, audit=True, trial=TRIAL), Move("Roll", "RollingOut")),
        (Wish("new", paused=True, at_ms=5, audit=True), Move("Wait", "Paused")),
        (Wish("new", too_large=True, paused=True), Move("Rest", "Rejected")),
    ],
)
def test_from_active_the_first_that_fits(wish, move):
    """Too large, paused, Audit, later, canary, at once."""
    assert plan(0, wish, ACTIVE, FOUR) == move


def test_the_first_document_waits_for_nothing():
    """Nothing is in force: no pause, no moment, no canary."""
    wish = Wish("new", paused=True, at_ms=9, trial=TRIAL)
    assert plan(0, wish, State(), FOUR) == Move("Roll", "RollingOut")
    assert plan(0, replace(wish, too_large=True), State(phase="Rejected"), FOUR) == Move("Stay", "Rejected")


def test_one_gateway_is_no_canary():
    """There is nobody to compare with; of two, one goes first although percent asks for half and more."""
    assert plan(0, Wish("new", trial=TRIAL), ACTIVE, Live(("g1",))) == Move("Roll", "RollingOut")
    half = Wish("new", trial=replace(TRIAL, percent=50))
    assert plan(0, half, ACTIVE, Live(("g1", "g2"))).canaries == ("g1",)


@pytest.mark.parametrize(
    ("phase", "acked", "failed", "move"),
    [
        ("RollingOut", False, "", Move("Stay", "RollingOut")),
        ("RollingOut", True, "", Move("Rest", "Active")),
        ("RollingBack", False, "bad", Move("Stay", "RollingBack")),
        ("RollingBack", True, "bad", Move("Rest", "RolledBack")),
        ("RollingBack", True, "", Move("Rest", "Active")),
        ("Scheduled", False, "", Move("Rest", "Active")),
        ("Active", False, "", Move("Stay", "Active")),
    ],
)
def test_what_is_in_force_stays(phase, acked, failed, move):
    """A roll-out waits for every acknowledgement."""
    assert plan(0, Wish("old"), State(phase, 0, "old", failed=failed), Live(("g1",), acked)) == move


def test_an_audit_rests_in_shadowing():
    """Its document is in force and acked."""
    assert plan(0, Wish("old", audit=True), State("RollingOut", 0, "old"), FOUR) == Move("Rest", "Shadowing")


def test_what_failed_is_not_tried_again():
    """Until the spec says something else."""
    failed = State("RolledBack", 0, "old", failed="new")
    assert plan(0, Wish("new"), failed, FOUR) == Move("Stay", "RolledBack")
    assert plan(0, Wish("other"), failed, FOUR) == Move("Roll", "RollingOut")


@pytest.mark.parametrize(
    ("now_ms", "wish", "found", "live", "move"),
    [
        (1, Wish("other", trial=TRIAL), "Equal", FOUR, Move("Back", "RollingBack")),
        (1, Wish("new", trial=TRIAL), "Worse", FOUR, Move("Back", "RollingBack", failed=True)),
        (999_999, Wish("new", paused=True, trial=TRIAL), "Equal", FOUR, Move("Stay", "Canary")),
        (1, Wish("new", trial=TRIAL), "Equal", Live(("g1",)), Move("Finish", "RollingOut")),
        (1, Wish("new"), "Equal", FOUR, Move("Finish", "RollingOut")),
        (1, Wish("new", trial=TRIAL), "Equal", Live(("g7", "g8")), Move("Canary", "Canary", ("g7",))),
        (119_999, Wish("new", trial=TRIAL), "Equal", FOUR, Move("Stay", "Canary")),
        (120_000, Wish("new", trial=TRIAL), "Equal", FOUR, Move("Finish", "RollingOut")),
        (120_000, Wish("new", trial=TRIAL), "Unknown", FOUR, Move("Stay", "Canary")),
        (359_999, Wish("new", trial=TRIAL), "Unknown", FOUR, Move("Stay", "Canary")),
        (360_000, Wish("new", trial=TRIAL), "Unknown", FOUR, Move("Finish", "RollingOut", untested=True)),
        (360_000, Wish("new", trial=TRIAL), "Doubt", FOUR, Move("Stay", "Canary")),
    ],
)
def test_a_canary(now_ms, wish, found, live, move):
    """Another wish or a worse canary goes back; a pause holds it; alone or over it goes on; new ones if all went."""
    assert plan(now_ms, wish, CANARY, live, found) == move


# ---------------------------------------------------------------------------------------------------- the comparison


def second(requests: float, denied: float = 0, failed: float = 0, p95: float = 10) -> Tally:
    return Tally(requests, denied, failed, p95 * requests)


def run(canary: Tally, others: Tally, seconds: int = 20, trial: Trial = TRIAL) -> tuple[str, Sums]:
    sums, now = Sums(0), IGNORED_MS
    for _ in range(seconds):
        sums = watch(now, sums, canary, others, trial)
        now += 1000
    return verdict(now - 1000, sums, trial), sums


@pytest.mark.parametrize(
    ("canary", "expected"),
    [
        (second(50), "Equal"),
        (second(50, denied=2.5), "Equal"),  # 5 points are not over 5
        (second(50, denied=3), "Worse"),
        (second(50, failed=0.6), "Worse"),
        (second(50, p95=15), "Equal"),
        (second(50, p95=15.1), "Worse"),
        (second(4), "Unknown"),
        (Tally(), "Unknown"),
    ],
)
def test_comparison(canary, expected):
    """Denied and failed in points, p95 in percent; too few requests say nothing."""
    assert run(canary, second(50))[0] == expected


def test_a_difference_has_to_last():
    """Ten seconds are ignored, then five in a row; in between there is doubt; once it is over nothing is left."""
    assert watch(IGNORED_MS - 1, Sums(0), second(9), second(9), TRIAL) == Sums(0)
    found, sums = run(second(200, denied=40), second(200), 5)
    assert found == "Doubt"
    assert verdict(IGNORED_MS + BREACH_MS, sums, TRIAL) == "Worse"
    calm = watch(IGNORED_MS + 5000, sums, second(100_000), second(200), TRIAL)
    assert (calm.worse_ms, verdict(IGNORED_MS + 5000, calm, TRIAL)) == (None, "Equal")


def test_without_a_least_count_nothing_is_compared_with_nothing():
    """minRequests 0 and no traffic: equal; others without latency are no measure."""
    free = replace(TRIAL, min_requests=0)
    assert run(Tally(), Tally(), trial=free)[0] == "Equal"
    assert run(second(50), Tally(50), trial=free)[0] == "Equal"


# ---------------------------------------------------------------------------------------------------------------- P14

TICKS = st.lists(
    st.tuples(
        st.sampled_from("abc"),  # the spec's document
        st.sampled_from([0, 0, 0, 20]),  # at, ticks from the start
        st.booleans(),  # paused
        st.booleans(),  # canary
        st.booleans(),  # acked
        st.sampled_from(["Worse", "Equal", "Unknown", "Doubt"]),
        st.integers(0, 3),  # gateways
        st.booleans(),  # a pod refuses
    ),
    min_size=1,
    max_size=40,
)


def carried(now: int, move: Move, state: State, wish: Wish) -> State:
    """The record after a move, as controller.rotation makes it, in hashes."""
    if move.act == "Wait":
        return replace(state, phase=move.phase, candidate=wish.target)
    if move.act == "Canary":
        return replace(state, phase="Canary", since_ms=now, candidate=wish.target, canaries=move.canaries)
    if move.act in {"Roll", "Finish"}:
        return State("RollingOut", now, wish.target if move.act == "Roll" else state.candidate)
    if move.act == "Back":
        return State("RollingBack", now, state.active, failed=state.candidate if move.failed else "")
    failed = "" if move.phase == "Active" else state.failed
    return replace(state, phase=move.phase, failed=failed, candidate="" if move.act == "Rest" else state.candidate)


@settings(max_examples=150)
@given(TICKS)
def test_p14_only_what_the_spec_said_is_enforced_and_the_end_is_a_rest(ticks):
    """Whatever comes: what is in force was the spec's once; once pods answer and nobody changes anything it rests."""
    state, said = State(), set[str]()
    for now, (target, at, paused, canary, acked, found, count, refuses) in enumerate(ticks):
        said.add(target)
        trial = replace(TRIAL, hold_ms=3) if canary else None
        wish = Wish(target, at_ms=at, paused=paused, trial=trial)
        live = Live(tuple(f"g{n}" for n in range(count)), acked)
        before = state.active
        state = carried(now, plan(now, wish, state, live, found), state, wish)
        if refuses and state.phase == "RollingOut" and before:
            state = State("RollingBack", now, before, failed=state.active)
        assert state.active in said
        assert state.phase != "Canary" or state.candidate in said
    for now in range(100, 120):
        state = carried(now, plan(now, Wish(target), state, Live(("g0",), acked=True), "Equal"), state, Wish(target))
    assert state.phase in {"Active", "RolledBack"}
    assert state.phase == "RolledBack" or state.active == target
