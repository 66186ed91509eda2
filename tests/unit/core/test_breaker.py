"""The breaker's table, row by row, then whatever Hypothesis thinks of."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.core.breaker import (
    CLOSED,
    CUT,
    FAULT,
    HALF_OPEN,
    NO_VERDICT,
    OPEN,
    REFUSED,
    STATUS_FAILURE,
    SUCCESS,
    Breaker,
    BreakerConfig,
    Transition,
    Window,
)

CONFIG = BreakerConfig()


def breaker(now: float = 0.0, **config: float) -> Breaker:
    return Breaker("api-1", BreakerConfig(**config), now)  # type: ignore[arg-type]


def call(one: Breaker, outcome: int, now: float, draw: float = 0.0, seconds: float = 0.0) -> None:
    permit = one.admit(now)
    assert permit != REFUSED
    one.record(permit, outcome, now, draw, seconds)


def opened(now: float = 0.0, **config: float) -> Breaker:
    one = breaker(now, **config)
    for _ in range(5):
        call(one, STATUS_FAILURE, now)
    assert one.state == OPEN
    return one


def half_open(now: float = 31.0, **config: float) -> tuple[Breaker, int]:
    one = opened(0.0, **config)
    permit = one.admit(now)
    assert one.state == HALF_OPEN
    return one, permit


def test_five_failures_in_a_row_open_it() -> None:
    """The fifth failure in a row opens it, with its reason; a success between starts the count anew."""
    one = breaker()
    for _ in range(4):
        call(one, FAULT, 1.0)
    call(one, SUCCESS, 1.0)
    for _ in range(4):
        call(one, STATUS_FAILURE, 2.0)
    assert one.state == CLOSED
    call(one, STATUS_FAILURE, 2.0)
    assert (one.state, one.opens, one.reason) == (OPEN, 1, "5 failures in a row")
    assert one.last_failure_at == 2.0


def test_few_slow_calls_do_not_open_it() -> None:
    """Twenty calls of which one was slow and one failed are fine."""
    one = breaker()
    call(one, CUT, 1.0)
    for _ in range(20):
        call(one, SUCCESS, 1.0, seconds=6.0 if one.calls == 3 else 0.1)
    assert one.state == CLOSED


def test_threshold_zero_switches_the_row_off() -> None:
    """With failureThreshold 0 only the window's ratios open it."""
    one = breaker(failure_threshold=0)
    for _ in range(19):
        call(one, FAULT, 1.0)
    assert one.state == CLOSED
    call(one, FAULT, 1.0)
    assert (one.state, one.reason) == (OPEN, "20 of 20 calls failed")


def test_half_of_twenty_calls_failed() -> None:
    """From 20 calls in the window on, half of them failed opens it, even when the last one was good; cuts count here
    alone.
    """
    one = breaker()
    for at in range(19):
        call(one, CUT if at % 2 else SUCCESS, 1.0 + at / 10)
    assert (one.state, one.row) == (CLOSED, 0)
    call(one, CUT, 3.0)
    assert (one.state, one.reason) == (OPEN, "10 of 20 calls failed")


def test_old_failures_leave_the_window() -> None:
    """What is older than the window no longer counts."""
    one = breaker()
    for _ in range(19):
        call(one, CUT, 1.0)
    call(one, CUT, 11.5)
    assert one.state == CLOSED


def test_slow_calls_open_it() -> None:
    """80 % of at least 20 calls slower than slowCallSeconds open it, good answers as they are."""
    one = breaker()
    for _ in range(4):
        call(one, SUCCESS, 1.0, seconds=0.1)
    for _ in range(15):
        call(one, SUCCESS, 1.0, seconds=5.0)
    assert one.state == CLOSED
    call(one, SUCCESS, 1.0, seconds=6.0)
    assert (one.state, one.by_status, one.reason) == (OPEN, True, "16 of 20 calls were slow")


def test_open_refuses_until_its_time() -> None:
    """Open: refused before `until`, which is never early and at most a tenth late; then half-open with one slot."""
    one = breaker()
    for _ in range(5):
        call(one, FAULT, 10.0, draw=0.5)
    assert one.until == 10.0 + 30 * 1.05
    assert not one.would_admit(one.until - 0.001)
    assert one.admit(one.until - 0.001) == REFUSED
    assert one.rejected == 1
    assert one.would_admit(one.until)
    assert one.state == OPEN  # asking changes nothing
    assert one.admit(one.until) != REFUSED
    assert (one.state, one.reason) == (HALF_OPEN, "open time is over")


def test_old_fault_12a() -> None:
    """Half-open admits at most halfOpenConcurrency calls at once; a failure there starts the count anew."""
    one, permit = half_open(half_open_concurrency=1)
    assert not one.would_admit(31.0)
    assert one.admit(31.0) == REFUSED
    one.record(permit, SUCCESS, 31.0, 0.0)
    call(one, SUCCESS, 31.0)
    call(one, FAULT, 31.0)
    assert (one.state, one.opens, one.successes) == (OPEN, 2, 0)
    assert one.until == 31.0 + 60.0  # the second opening lasts twice as long
    for _ in range(2):
        call(one, SUCCESS, 91.0)
    assert one.state == HALF_OPEN
    call(one, SUCCESS, 91.0)
    assert (one.state, one.row, one.reason) == (CLOSED, 0, "recovered")


def test_old_fault_12b() -> None:
    """Ten thousand transitions keep the last fifty."""
    seen: list[Transition] = []
    one = Breaker("api-1", CONFIG, 0.0, lambda _, transition: seen.append(transition))
    for step in range(5000):
        one.force("open", step + 10.0, "test", float(step))
        one.reset(float(step))
    assert len(seen) == 10_000
    assert len(one.transitions) == 50
    assert one.transitions[-1] == seen[-1] == Transition(OPEN, CLOSED, 4999.0, "reset")


def test_openings_grow_to_a_maximum_and_are_forgotten() -> None:
    """30 s, 60 s … 300 s at most; after 60 s closed the next opening is a first one, before that it is not."""
    one, permit = half_open()
    now = 31.0
    for opens in range(2, 13):
        one.record(permit, FAULT, now, 0.0)
        assert one.until - now == min(30.0 * opens, 300.0)
        now = one.until
        permit = one.admit(now)
    one.record(permit, SUCCESS, now, 0.0)
    call(one, SUCCESS, now)
    call(one, SUCCESS, now)
    for _ in range(5):
        call(one, FAULT, now + 59.0)
    assert one.opens == 13
    one.reset(now + 60.0)
    for _ in range(5):
        call(one, FAULT, now + 61.0)
    assert one.opens == 1
    for _ in range(3):
        call(one, SUCCESS, now + 100.0)
    for _ in range(5):
        call(one, FAULT, now + 160.0)
    assert one.opens == 1


def test_slots_are_given_back_without_verdict() -> None:
    """A client that left, or a failed connect, gives the half-open slot back and says nothing."""
    one, permit = half_open()
    one.record(permit, NO_VERDICT, 31.0, 0.0)
    assert (one.state, one.successes, one.calls) == (HALF_OPEN, 0, 5)
    assert one.would_admit(31.0)
    closed = breaker()
    closed.record(closed.admit(0.0), NO_VERDICT, 0.0, 0.0)
    assert (closed.calls, closed.row) == (0, 0)


def test_late_results_move_nothing() -> None:
    """A call admitted before the state changed is counted, but gives no slot back and no verdict."""
    one = breaker()
    late = one.admit(0.0)
    for _ in range(5):
        call(one, STATUS_FAILURE, 0.0)
    one.record(late, SUCCESS, 1.0, 0.0)
    assert (one.state, one.succeeded) == (OPEN, 1)
    permit = one.admit(31.0)
    one.record(late, FAULT, 31.0, 0.0)
    assert one.state == HALF_OPEN
    assert not one.would_admit(31.0)
    one.record(permit, SUCCESS, 31.0, 0.0)
    assert one.would_admit(31.0)


def test_force() -> None:
    """Forced open refuses, forced closed admits, both record; lifting closes; it ends by itself, in an hour at most."""
    one = breaker()
    one.force("open", 100.0, "maintenance", 0.0)
    assert not one.would_admit(99.0)
    assert one.admit(99.0) == REFUSED
    assert (one.state, one.forced_until) == (OPEN, 100.0)
    assert one.would_admit(100.0)
    assert one.admit(100.0) != REFUSED
    assert (one.state, one.forced) == (CLOSED, "")
    one.force("closed", 1e9, "it works, trust me", 100.0)
    assert one.forced_until == 3700.0
    for _ in range(30):
        call(one, STATUS_FAILURE, 100.0)
    assert (one.state, one.failed) == (CLOSED, 30)
    assert one.would_admit(100.0)
    one.expire(3699.0)
    assert one.forced == "closed"
    one.expire(3700.0)
    assert (one.forced, one.row) == ("", 0)
    one.expire(3701.0)
    assert one.state == CLOSED


def test_held_breakers_stay_closed_for_status_failures_only() -> None:
    """While the fleet's cap is reached status failures and slow calls do not open it; faults and cuts do."""
    one = breaker()
    one.held = True
    for _ in range(30):
        call(one, STATUS_FAILURE, 1.0)
    assert one.state == CLOSED
    call(one, FAULT, 1.0)
    assert (one.state, one.by_status) == (OPEN, False)


def test_slow_calls_never_pass_the_cap() -> None:
    """Where every peer is slow none is better: whichever call tips the ratio, a held breaker stays closed, and one that opens
    counts for the cap.
    """
    one = breaker()
    one.held = True
    for _ in range(30):
        one.record(one.admit(1.0), SUCCESS, 1.0, 0.0, 6.0)
    one.record(one.admit(1.0), CUT, 1.0, 0.0, 6.0)
    assert one.state == CLOSED
    one.held = False
    one.record(one.admit(1.0), CUT, 1.0, 0.0, 6.0)
    assert (one.state, one.by_status) == (OPEN, True)


def test_configure() -> None:
    """A new policy holds from the next record on; a window of another length starts empty."""
    one = breaker()
    for _ in range(3):
        call(one, STATUS_FAILURE, 1.0)
    one.configure(BreakerConfig(failure_threshold=4))
    call(one, STATUS_FAILURE, 1.0)
    assert one.state == OPEN
    other = breaker()
    for _ in range(19):
        call(other, CUT, 1.0)
    other.configure(BreakerConfig(window_s=20))
    call(other, CUT, 1.0)
    assert other.state == CLOSED


@given(st.lists(st.tuples(st.floats(0, 40), st.booleans(), st.booleans()), max_size=60), st.integers(1, 12))
def test_window_is_the_sum_of_its_last_seconds(events: list[tuple[float, bool, bool]], seconds: int) -> None:
    """Running sums equal the naive count over the last `seconds` whole seconds."""
    window = Window(seconds)
    events.sort()
    for at, failed, slow in events:
        window.add(at, failed, slow)
    kept = [event for event in events if int(event[0]) > int(events[-1][0]) - seconds]
    assert window.calls == len(kept)
    assert window.failed == sum(failed for _, failed, _ in kept)
    assert window.slow == sum(slow for _, _, slow in kept)


def test_window_survives_a_clock_that_stands() -> None:
    """A time before the newest one counts as now."""
    window = Window(5)
    window.add(10.0, failed=True, slow=False)
    window.add(3.0, failed=True, slow=False)
    assert (window.calls, window.failed) == (2, 2)


ALLOWED = {
    (CLOSED, OPEN),
    (OPEN, HALF_OPEN),
    (HALF_OPEN, CLOSED),
    (HALF_OPEN, OPEN),
    (OPEN, CLOSED),  # reset, lifted force
}
STEPS = st.tuples(
    st.sampled_from(["ask", "ask", "ask", "answer", "answer", "force", "reset"]),
    st.floats(0, 20),
    st.sampled_from([SUCCESS, STATUS_FAILURE, FAULT, CUT, NO_VERDICT]),
    st.floats(0, 1, exclude_max=True),
)


@given(st.lists(STEPS, max_size=150), st.integers(1, 3))
def test_invariant_30(steps: list[tuple[str, float, int, float]], slots: int) -> None:
    """Only the table's moves; half-open in flight within its slots; never asked early; asking tells what admitting
    does.
    """
    one = breaker(failure_threshold=2, open_s=10, half_open_concurrency=slots, minimum_calls=5)
    now, flying, commanded = 0.0, list[tuple[int, int]](), False
    for what, wait, outcome, draw in steps:
        now += wait
        before, until, marks = one.state, one.until, len(one.transitions)
        if what == "ask":
            expected = one.would_admit(now)
            forced_open = one.forced == "open" and now < one.forced_until
            permit = one.admit(now)
            assert expected == bool(permit)
            if before == OPEN and permit and not commanded:
                assert now >= until
            assert not (forced_open and permit)
            if permit:
                flying.append((permit, len(one.transitions)))
        elif what == "answer" and flying:
            permit, _ = flying.pop(0)
            one.record(permit, outcome, now, draw)
        elif what == "force":
            one.force("open" if draw < 0.5 else "closed", now + wait, "test", now)
        elif what == "reset":
            one.reset(now)
        commanded = bool(one.forced)
        for transition in list(one.transitions)[marks:]:
            moved = (transition.source, transition.target)
            assert moved in ALLOWED or transition.reason.startswith("forced")
            if moved == (HALF_OPEN, CLOSED):
                assert transition.reason in {"recovered", "reset"} or transition.reason.startswith("forced closed")
        if one.state == HALF_OPEN:
            mine = [permit for permit, _ in flying if permit == one._permit]
            assert len(mine) == one._in_flight <= slots
        assert len(one.transitions) <= 50
