from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.core.limits import (
    CALENDAR,
    CONCURRENCY,
    GCRA,
    LEASE_MS,
    LOG,
    NOTHING,
    SLIDING,
    Carry,
    Limit,
    Reading,
    State,
    decide,
    kept_as,
    left,
    longest_wait_s,
    read,
    reset_s,
    restate,
    retry_after_s,
    share,
    start_value,
    wait_ms,
)

T0 = 1_700_000_000_000_000  # us


def limits_of(algorithm: str, *, enforced: bool = True):
    return st.builds(
        lambda quota, window_s: Limit(algorithm, quota, window_s * 1000, enforced),
        st.integers(1, 50),
        st.integers(1, 5),
    )


any_limit = st.sampled_from([SLIDING, GCRA, CALENDAR, LOG]).flatmap(limits_of)
counted = st.sampled_from([SLIDING, GCRA, CALENDAR]).flatmap(limits_of)
steps = st.lists(st.tuples(st.integers(0, 2_500_000), st.integers(1, 6)), min_size=1, max_size=40)


def run(limit: Limit, moves, start: int = T0):
    """Plays (gap in us, cost) moves; yields time, cost, reading, state."""
    state, us = None, start
    for gap, cost in moves:
        us += gap
        decision = decide([limit], [state], min(cost, limit.quota), us)
        state = decision.states[0]
        yield us, min(cost, limit.quota), decision.admitted, decision.readings[0], state


def test_sliding_refuses_above_its_quota_and_waits_exactly() -> None:
    """100 units pass within a window, the 101st waits until the window and a hundredth of the next have passed."""
    limit = Limit(SLIDING, 100, 60_000)
    start = T0 - T0 % 60_000_000
    state = None
    for _ in range(100):
        decision = decide([limit], [state], 1, start)
        state = decision.states[0]
        assert decision.admitted
    refused = decide([limit], [state], 1, start)
    assert not refused.admitted
    assert refused.states == [state]
    assert wait_ms(limit, refused.readings[0], start, 1) == 60_600
    assert left(limit, refused.readings[0], start) == 0
    assert reset_s(limit, refused.readings[0], start, 0) == 61
    assert longest_wait_s([limit], refused.readings, start, 1) == 61


def test_sliding_waits_within_the_window_when_the_older_one_is_in_the_way() -> None:
    """used <= A: what is left of the window before must shrink."""
    limit = Limit(SLIDING, 10, 10_000)
    start = T0 - T0 % 10_000_000
    reading, _ = read(limit, State(start // 1000 - 10_000, 10, 0), 1, start)
    assert not reading.passes
    assert wait_ms(limit, reading, start, 1) == 1_000
    assert read(limit, State(start // 1000 - 10_000, 10, 0), 1, start + 1_000_000)[0].passes


def test_gcra_admits_exactly_its_quota_at_once_for_any_quota() -> None:
    """600 and 700 units a second are no whole number of microseconds each, and still 600 and 700 pass at once."""
    for quota in (1, 3, 600, 700, 999, 10_000):
        limit, state, passed = Limit(GCRA, quota, 1000), None, 0
        for _ in range(quota + 5):
            decision = decide([limit], [state], 1, T0)
            state, passed = decision.states[0], passed + decision.admitted
        assert passed == quota


def test_calendar_forgets_at_midnight() -> None:
    """A UTC day's count ends with the day."""
    limit, day = Limit(CALENDAR, 2, 86_400_000), 86_400_000_000
    start = T0 - T0 % day
    full = State(start // 1000, 2, 0)
    reading, _ = read(limit, full, 1, start + day - 1000)
    assert not reading.passes
    assert wait_ms(limit, reading, start + day - 1000, 1) == 1
    assert wait_ms(limit, reading, start + day - 1000, 0) == 0
    assert read(limit, full, 2, start + day)[0].passes


@given(any_limit, steps)
def test_admitted_at_the_wait_and_not_a_millisecond_before(limit: Limit, moves) -> None:
    """wait_ms is exact for every cost (invariant 13); of a log for the refused one, and for one more than are left."""
    for us, cost, _, reading, state in run(limit, moves):
        more = min(left(limit, reading, us) + 1, limit.quota)
        for units in {1, cost, limit.quota} if limit.algorithm != LOG else {more} if reading.passes else {more, cost}:
            wait = wait_ms(limit, reading, us, units)
            assert wait is not None
            now = us if wait == 0 else us - us % 1000 + wait * 1000 if limit.algorithm != GCRA else us + wait * 1000
            assert decide([limit], [state], units, now).admitted
            if wait:
                assert not decide([limit], [state], units, now - 1000).admitted


@given(any_limit, steps)
def test_never_above_the_quota(limit: Limit, moves) -> None:
    """Per aligned window at most the quota; gcra: quota + elapsed / T (invariant 12)."""
    windows: dict[int, int] = {}
    total, first = 0, None
    for us, cost, admitted, reading, _ in run(limit, moves):
        if admitted:
            first = us if first is None else first
            total += cost
            windows[us // 1000 // limit.window_ms] = windows.get(us // 1000 // limit.window_ms, 0) + cost
            if limit.algorithm == GCRA:
                assert (
                    total * limit.window_ms * 1000 <= limit.quota * limit.window_ms * 1000 + (us - first) * limit.quota
                )
        assert left(limit, reading, us) >= 0
    if limit.algorithm != GCRA:
        assert all(count <= limit.quota for count in windows.values())


@given(any_limit, steps)
def test_left_falls_by_the_cost(limit: Limit, moves) -> None:
    """left is what still passes, falls by what is spent, and rises by time alone (invariant 16)."""
    before: State | None = None
    for us, cost, admitted, reading, state in run(limit, moves):
        untouched, _ = read(limit, before, 0, us)
        if admitted:
            assert left(limit, reading, us) == left(limit, untouched, us) - cost
        else:
            assert left(limit, reading, us) == left(limit, untouched, us) < cost
        before = state


@given(any_limit, steps, st.integers(1, 20_000_000))
def test_a_clock_that_jumps_back_admits_nothing_extra(limit: Limit, moves, back: int) -> None:
    """After a jump back at most what was left passes, and the wait told is the true one (invariant 17)."""
    *_, (us, _, _, reading, state) = run(limit, moves)
    remaining = left(limit, reading, us)
    early = us - back
    again, _ = read(limit, state, 1, early)
    assert left(limit, again, early) <= remaining
    wait = wait_ms(limit, again, early, 1)
    assert wait is not None
    if wait:
        at = early + wait * 1000 if limit.algorithm == GCRA else early - early % 1000 + wait * 1000
        assert read(limit, state, 1, at)[0].passes
        assert not read(limit, state, 1, at - 1000)[0].passes


@given(st.lists(any_limit, min_size=1, max_size=4), steps)
def test_all_or_nothing_and_peeks_spend_nothing(limits: list[Limit], moves) -> None:
    """A refusal and a peek change no state (invariant 14)."""
    states: list[State | None] = [None] * len(limits)
    us = T0
    for gap, cost in moves:
        us += gap
        peeked = decide(limits, states, cost, us, spend=False)
        assert peeked.states == states
        spent = decide(limits, states, cost, us)
        assert spent.admitted == peeked.admitted == all(r.passes for r in peeked.readings)
        if not spent.admitted:
            assert spent.states == states
            assert spent.readings == peeked.readings
        states = spent.states


@given(any_limit, any_limit, steps)
def test_shadow_changes_no_outcome(limit: Limit, shadow: Limit, moves) -> None:
    """The same requests are admitted with and without a shadow policy (invariant 15)."""
    dark = Limit(shadow.algorithm, shadow.quota, shadow.window_ms, enforced=False)
    alone: State | None = None
    both: list[State | None] = [None, None]
    us = T0
    for gap, cost in moves:
        us += gap
        one, two = decide([limit], [alone], cost, us), decide([limit, dark], both, cost, us)
        assert one.admitted == two.admitted
        assert one.states[0] == two.states[0]
        alone, both = one.states[0], two.states


@given(st.lists(any_limit, min_size=1, max_size=4), steps, st.floats(0, 1, exclude_max=True))
def test_retry_after_covers_every_refusing_policy(limits: list[Limit], moves, draw: float) -> None:
    """Retry-After >= each refusing policy's t and wait (invariant 21); the jitter is at most 5 s and a fifth."""
    states: list[State | None] = [None] * len(limits)
    us = T0
    for gap, cost in moves:
        us += gap
        admitted, readings, states = decide(limits, states, cost, us)
        if admitted:
            continue
        bare = longest_wait_s(limits, readings, us, cost)
        told = retry_after_s(bare, draw)
        assert bare <= told <= bare + min(bare / 5, 5)
        for limit, reading in zip(limits, readings, strict=True):
            if not reading.passes:
                assert bare >= reset_s(limit, reading, us, left(limit, reading, us))
                assert bare * 1000 >= (wait_ms(limit, reading, us, cost) or 0)


@given(counted, steps, st.integers(0, 20_000_000))
def test_restate_knows_the_state_behind_a_reading(limit: Limit, moves, later: int) -> None:
    """From a reading alone the limit is known at any later time."""
    for us, cost, _, reading, state in run(limit, moves):
        if state is not None:
            mine, truth = (
                read(limit, restate(limit, reading, us), cost, us + later),
                read(limit, state, cost, us + later),
            )
            assert mine[0] == truth[0]


@given(limits_of(LOG), steps)
def test_a_log_holds_its_quota_in_any_window(limit: Limit, moves) -> None:
    """Not only in aligned ones (invariant 12)."""
    units: list[int] = []
    for us, cost, admitted, _, _ in run(limit, moves):
        units += [us // 1000] * (cost if admitted else 0)
        assert sum(time > us // 1000 - limit.window_ms for time in units) <= limit.quota


@given(limits_of(LOG), steps, st.integers(0, 6_000_000))
def test_a_restated_log_frees_nothing_early(limit: Limit, moves, later: int) -> None:
    """Of most units a reading does not tell the time: they count as long as they might; the oldest leaves on time."""
    for us, cost, _, reading, state in run(limit, moves):
        if state is None or (not reading.passes and later >= reading.lag * 1000):
            continue
        mine, truth = (read(limit, s, 1, us + later)[0] for s in (restate(limit, reading, us), state))
        assert mine.used >= truth.used
        if later < reading.before * 1000 and not reading.passes:
            assert mine.used == truth.used
        assert cost <= limit.quota


def test_small_sliding_limits_are_logs() -> None:
    """Up to 50 units the estimate would be felt; a blocked caller has no log."""
    assert [kept_as(SLIDING, quota) for quota in (0, 1, 50, 51)] == [SLIDING, LOG, LOG, SLIDING]
    assert kept_as(GCRA, 1) == GCRA


def test_a_log_learns_of_an_outage() -> None:
    """own joins units that are known, full starts a log that is empty or was lost."""
    limit, carry, now = Limit(LOG, 10, 60_000), Carry(own=3, full=5), T0 // 1000
    live, ended = State(now - 5, 1, 0, (now - 5,)), State(now - 60_000, 1, 0, (now - 60_000,))
    assert decide([limit], [live], 10, T0, carries=[carry]).states == [State(now, 4, 0, (now - 5, now, now, now))]
    for lost in (None, ended):
        assert decide([limit], [lost], 10, T0, carries=[carry]).states == [State(now, 5, 0, (now,) * 5)]
        assert decide([limit], [lost], 11, T0, carries=[Carry(3, 0)]).states == [lost]


def test_leases_are_in_flight_until_they_end() -> None:
    """One per request whatever it costs; a wait is not known; nothing is carried over; nobody's end is freed early."""
    limit, ends = Limit(CONCURRENCY, 2, 1000), T0 // 1000 + LEASE_MS
    states: list[State | None] = [None]
    for used in (1, 2):
        admitted, (reading,), states = decide([limit], states, 7, T0)
        assert (admitted, reading.used, wait_ms(limit, reading, T0, 1)) == (True, used, 0 if used == 1 else None)
    refused = decide([limit], states, 1, T0, carries=[Carry(1, 1)])
    assert not refused.admitted
    assert refused.states == states == [State(0, 2, 0, (ends, ends))]
    assert longest_wait_s([limit], refused.readings, T0, 1) == reset_s(limit, refused.readings[0], T0, 0) == 1
    assert left(limit, refused.readings[0], T0) == 0
    assert read(limit, restate(limit, refused.readings[0], T0), 1, T0)[0] == refused.readings[0]
    assert not read(limit, states[0], 1, (ends - 1) * 1000)[0].passes
    assert read(limit, states[0], 1, ends * 1000)[0].used == 0


def test_restate_keeps_a_later_window() -> None:
    """A reading taken while the clock stood before the window leads back to that window."""
    limit = Limit(SLIDING, 5, 1000)
    state = State(2_000_000, 3, 1)
    reading, _ = read(limit, state, 1, 1_999_500_000)
    assert reading.lag == 500
    assert restate(limit, reading, 1_999_500_000) == state


def test_what_never_passes_has_no_wait() -> None:
    """Above the quota there is no wait; a window is told instead, for a blocked caller too."""
    limit = Limit(SLIDING, 5, 60_000)
    reading = Reading(passes=False, used=0, before=0, lag=0)
    assert wait_ms(limit, reading, T0, 6) is None
    assert longest_wait_s([limit], [reading], T0, 6) == 60
    blocked = Limit(SLIDING, 0, 60_000)
    assert reset_s(blocked, reading, T0, 0) == 60
    assert left(blocked, reading, T0) == 0


def test_reset_spreads_what_is_left() -> None:
    """t is at least r · w / q: a client that spreads r over t keeps the average rate."""
    limit = Limit(SLIDING, 1000, 60_000)
    reading = Reading(passes=True, used=50, before=0, lag=0)
    assert reset_s(limit, reading, T0 - T0 % 60_000_000 + 59_000_000, 950) >= 57
    untouched = Reading(passes=True, used=0, before=0, lag=0)
    assert reset_s(limit, untouched, T0, 1000) == 60


def test_retry_after_ignores_what_does_not_refuse() -> None:
    """Passing and shadow policies have no say; it is never below a second."""
    slow, dark = Limit(SLIDING, 1, 60_000), Limit(SLIDING, 1, 86_400_000, enforced=False)
    full = Reading(passes=False, used=1, before=0, lag=0)
    free = Reading(passes=True, used=0, before=0, lag=0)
    assert longest_wait_s([slow, dark], [free, full], T0, 1) == 1


def test_own_joins_a_live_counter_and_full_starts_an_unknown_one() -> None:
    """After an outage Redis learns what was admitted meanwhile, also when it came back empty, also if nothing is
    spent now.
    """
    start = (T0 - T0 % 60_000_000) // 1000
    carry = Carry(own=3, full=5)
    for limit, live in (
        (Limit(SLIDING, 10, 60_000), State(start, 2, 0)),
        (Limit(CALENDAR, 10, 60_000), State(start, 2, 0)),
    ):
        assert read(limit, live, 1, T0, carry)[1].used == 5
        assert read(limit, None, 1, T0, carry)[1].used == 5
        assert decide([limit], [live], 10, T0, carries=[carry]).states == [State(start, 5, 0)]
        assert decide([limit], [None], 10, T0, carries=[carry]).states == [State(start, 5, 0)]
        assert decide([limit], [live], 10, T0, spend=False, carries=[carry]).states == [live]
        assert decide([limit], [live], 10, T0, carries=[NOTHING]).states == [live]
    gcra = Limit(GCRA, 10, 1000)
    assert read(gcra, State(T0, 2_000_000, 0), 1, T0, carry)[1].used == 5_000_000
    assert read(gcra, None, 1, T0, carry)[1].used == 5_000_000
    assert decide([gcra], [State(T0, 2_000_000, 0)], 10, T0, carries=[carry]).states == [State(T0, 5_000_000, 0)]


def test_another_window_length_starts_afresh() -> None:
    """A policy whose window was changed does not read the old one's counter as its own."""
    minute, day = State((T0 - T0 % 60_000_000) // 1000, 9, 9), Limit(SLIDING, 10, 86_400_000)
    assert read(day, minute, 1, T0)[0] == Reading(passes=True, used=0, before=0, lag=0)


def test_shares() -> None:
    """A local share is rounded up, never 0; a closed policy keeps half of everything."""
    assert [share(100, n) for n in (0, 1, 3, 4)] == [100, 100, 34, 25]
    assert (share(20, 4, closed=True), share(1, 4, closed=True)) == (10, 1)
    limit, reading = Limit(SLIDING, 100, 60_000), Reading(passes=True, used=50, before=0, lag=0)
    assert [start_value(limit, reading, T0, n) for n in (0, 1, 4)] == [50, 50, 13]


@given(
    st.integers(1, 6), st.lists(st.tuples(st.integers(0, 5), st.integers(0, 400_000)), max_size=80), st.integers(1, 40)
)
def test_local_shares_together_stay_within_rounding(gateways: int, moves, quota: int) -> None:
    """Whatever gateway the requests meet, all shares together admit at most N - 1 above the quota per window
    (invariant 19).
    """
    alone = Limit(CALENDAR, share(quota, gateways), 60_000)
    states: list[State | None] = [None] * gateways
    us = T0
    counts: dict[int, int] = {}
    for node, gap in moves:
        us += gap
        admitted, _, (states[node % gateways],) = decide([alone], [states[node % gateways]], 1, us)
        counts[us // 60_000_000] = counts.get(us // 60_000_000, 0) + admitted
    assert all(count <= quota + gateways - 1 for count in counts.values())


def test_old_fault_2a() -> None:
    """A client at twice its limit for 3 windows is still admitted at its limit: refusals cost nothing."""
    limit, state, us = Limit(SLIDING, 60, 60_000), None, T0 - T0 % 60_000_000
    admitted = [0, 0, 0]
    for second in range(360):  # two requests a second
        decision = decide([limit], [state], 1, us + second * 500_000)
        state = decision.states[0]
        admitted[second // 120] += decision.admitted
    assert admitted[0] == 60
    assert all(count >= 59 for count in admitted[1:])
