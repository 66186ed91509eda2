"""Rate-limit algorithms with exact waits: what `runtime/lua/limit.lua` decides in Redis, as plain functions on
integers.

The local limiter (Redis away), explain and the tests decide with these functions; the gateway uses `left`, `wait_ms`
and `reset_s` on the raw counters that the script returns. Script and functions are the same arithmetic: a property
test runs both on random sequences.

- sliding: two counters of windows aligned to the clock, the older one weighted by what is left of it (Cloudflare,
  Kong).
- gcra: a backlog that drains at quota per window (redis-cell; ATM Forum's GCRA). Kept in units x window_us, not as a
  theoretical arrival time, so that every quota stays exact: 600/s means 600, although 1 s / 600 is no whole number of
  microseconds.
- calendar: one counter per aligned window, nothing carried over.
- log: the time of every unit, so that any window holds at most the quota (exact, and as big as the quota: at most
  1000 units). Sliding limits of at most 50 are kept so too: small quotas feel an estimate most.
- concurrency: leases in flight over all gateways; each ends by itself if nobody renews it (Stripe). Frees nothing by
  time, so no wait is known.

Times are microseconds (`us`) or milliseconds (`_ms`) since the epoch, by the store's clock. All or nothing: if one
enforced limit refuses, no limit is charged. Products stay exact in the script's doubles because quota x window_ms <=
2^53 (rule of the tiers schema).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

SLIDING: Final = "sliding"
GCRA: Final = "gcra"
CALENDAR: Final = "calendar"
LOG: Final = "log"
CONCURRENCY: Final = "concurrency"
ALGORITHMS: Final = (SLIDING, GCRA, CALENDAR, LOG)

SMALL: Final = 50  # a sliding limit of so few units is kept as a log
LEASE_MS: Final = 30_000  # a gateway that died holds its leases so long; the script knows the same number

JITTER_SHARE: Final = 5  # Retry-After is spread over a fifth of the wait …
JITTER_MAX_S: Final = 5.0  # … and at most 5 s: clients refused together must not return together


@dataclass(frozen=True, slots=True)
class Limit:
    """One policy as the algorithms see it; a limit that is not enforced (shadow) is counted but refuses nothing."""

    algorithm: str
    quota: int
    window_ms: int
    enforced: bool = True


class State(NamedTuple):
    """What a key holds. sliding, calendar: start of the window in ms, its count, the count before. gcra: us, backlog,
    0. log: ms of its youngest unit, their number, 0, all of them in order. concurrency: 0, leases, 0, their ends in ms.
    """

    at: int
    used: int
    before: int
    times: tuple[int, ...] = ()


class Reading(NamedTuple):
    """Raw counters of one limit after a decision; `lag` is how far the clock stands before the state (it jumped
    back): us for gcra, else ms. log: `before` is in how many ms its oldest unit leaves, `lag` in how many the refused
    cost passes.
    """

    passes: bool
    used: int
    before: int
    lag: int


class Carry(NamedTuple):
    """Units admitted while the store was away: `own` joins a live counter, `full` starts one whose window the store
    does not know.
    """

    own: int
    full: int


NOTHING: Final = Carry(0, 0)


class Decision(NamedTuple):
    admitted: bool
    readings: list[Reading]
    states: list[State | None]


def read(limit: Limit, state: State | None, cost: int, us: int, carry: Carry = NOTHING) -> tuple[Reading, State]:
    """The limit at `us` before anything is spent: does `cost` pass, and the state brought up to now."""
    window = limit.window_ms
    if limit.algorithm == LOG:
        return _read_log(limit, state, cost, us // 1000, carry)
    if limit.algorithm == CONCURRENCY:
        return _read_leases(limit, state, us // 1000)
    if limit.algorithm == GCRA:
        unit = window * 1000
        if state is None:
            lag, backlog = 0, carry.full * unit
        else:
            lag = max(0, state.at - us)
            backlog = max(0, state.used - max(0, us - state.at) * limit.quota) + carry.own * unit
        passes = backlog + cost * unit <= limit.quota * unit
        return Reading(passes, backlog, 0, lag), State(us + lag, backlog, 0)
    now = us // 1000
    e = now % window
    start, lag, used, before = now - e, 0, carry.full, 0
    if state is not None:
        if state.at > now:  # the clock went back: stay in the later window
            start, e, lag = state.at, 0, state.at - now
        if state.at == start:
            used, before = state.used + carry.own, state.before
        elif state.at == start - window:
            before = state.used
    if limit.algorithm == CALENDAR:
        before = 0
    passes = (used + cost) * window + before * (window - e) <= limit.quota * window
    return Reading(passes, used, before, lag), State(start, used, before)


def _read_log(limit: Limit, state: State | None, cost: int, now: int, carry: Carry) -> tuple[Reading, State]:
    times = () if state is None else state.times
    at = max(now, times[-1]) if times else now  # the clock went back: stay at the youngest
    live = times[bisect_right(times, at - limit.window_ms) :]
    live += (at,) * (carry.own if live else carry.full)
    missing = len(live) + cost - limit.quota
    lag = 0 if missing <= 0 else (live[missing - 1] if missing <= len(live) else at) + limit.window_ms - now
    oldest = (live[0] if live else at) + limit.window_ms - now  # of an empty log: the unit this may become
    return Reading(missing <= 0, len(live), oldest, lag), State(at, len(live), 0, live)


def _read_leases(limit: Limit, state: State | None, now: int) -> tuple[Reading, State]:
    """A lease is one, whatever the request costs."""
    ends = () if state is None else state.times[bisect_right(state.times, now) :]
    return Reading(len(ends) < limit.quota, len(ends), 0, 0), State(0, len(ends), 0, ends)


def _spent(limit: Limit, state: State, cost: int, us: int) -> State:
    at, used, before, times = state
    match limit.algorithm:
        case "gcra":
            return State(at, used + cost * limit.window_ms * 1000, before)
        case "log":
            return State(at, used + cost, 0, times + (at,) * cost)
        case "concurrency":
            return State(at, used + 1, 0, tuple(sorted((*times, us // 1000 + LEASE_MS))))
        case _:
            return State(at, used + cost, before)


def decide(
    limits: Sequence[Limit],
    states: Sequence[State | None],
    cost: int,
    us: int,
    *,
    spend: bool = True,
    carries: Sequence[Carry] | None = None,
) -> Decision:
    """One request against all its limits. `states` of the result are what the keys hold afterwards."""
    admitted = True
    readings: list[Reading] = []
    fresh: list[State] = []
    for i, limit in enumerate(limits):
        reading, state = read(limit, states[i], cost, us, NOTHING if carries is None else carries[i])
        readings.append(reading)
        fresh.append(state)
        if limit.enforced and not reading.passes:
            admitted = False
    kept: list[State | None] = []
    for i, limit in enumerate(limits):
        reading, state = readings[i], fresh[i]
        if spend and admitted and reading.passes:
            state = _spent(limit, state, cost, us)
            readings[i] = Reading(reading.passes, state.used, reading.before, reading.lag)
            kept.append(state)
        elif spend and carries is not None and _carried(states[i], state, limit, carries[i]):
            kept.append(state)
        else:
            kept.append(states[i])
    return Decision(admitted, readings, kept)


def _carried(old: State | None, new: State, limit: Limit, carry: Carry) -> bool:
    """Did `own` or `full` change the counter, so that it must be written although nothing was spent?"""
    if limit.algorithm == CONCURRENCY:
        return False
    if limit.algorithm == LOG:
        known = old is not None and old.at > new.at - limit.window_ms
    else:
        known = old is not None and (limit.algorithm == GCRA or old.at == new.at)
    return (carry.own if known else carry.full) > 0


def restate(limit: Limit, reading: Reading, us: int) -> State:
    """The state behind a reading taken at `us`: from it `read` tells the limit at any later time. Of a log only its
    oldest unit and the one the refused cost waits for are known; the others stay no shorter.
    """
    if limit.algorithm == LOG and reading.used:
        oldest, last = us // 1000 - limit.window_ms + reading.before, us // 1000
        rest = last - limit.window_ms + reading.lag if reading.lag else max(oldest, last)
        return State(max(oldest, rest), reading.used, 0, (oldest, *(max(oldest, rest),) * (reading.used - 1)))
    if limit.algorithm in {LOG, CONCURRENCY}:
        return State(0, reading.used, 0, (us // 1000 + LEASE_MS,) * reading.used)
    if limit.algorithm == GCRA:
        return State(us + reading.lag, reading.used, 0)
    now = us // 1000
    start = now + reading.lag if reading.lag else now - now % limit.window_ms
    return State(start, reading.used, reading.before)


def left(limit: Limit, reading: Reading, us: int) -> int:
    """Units that would still pass at `us`, the time of the reading."""
    window = limit.window_ms
    if limit.algorithm == GCRA:
        unit = window * 1000
        room = (limit.quota * unit - reading.used) // unit
    elif reading.before and limit.algorithm == SLIDING:
        e = 0 if reading.lag else us // 1000 % window
        room = ((limit.quota - reading.used) * window - reading.before * (window - e)) // window
    else:
        room = limit.quota - reading.used
    return max(0, room)


def wait_ms(limit: Limit, reading: Reading, us: int, units: int) -> int | None:
    """Milliseconds until `units` pass, if nobody else spends: 0 now, None never, or nobody knows (concurrency). Exact:
    they pass then and not 1 ms before. Of a log: for one unit more than are left, and for the cost the reading refused.
    """
    quota, window, used = limit.quota, limit.window_ms, reading.used
    if limit.algorithm == CONCURRENCY:
        return 0 if used < quota else None
    allowed = quota - units
    if allowed < 0:
        return None
    if limit.algorithm == LOG:
        if used <= allowed:
            return 0
        return reading.before if used == allowed + 1 else max(reading.before, reading.lag or window)
    if limit.algorithm == GCRA:
        missing = used - allowed * window * 1000
        return 0 if missing <= 0 else -(-(reading.lag * quota + missing) // (quota * 1000))
    e = 0 if reading.lag else us // 1000 % window
    before = 0 if limit.algorithm == CALENDAR else reading.before
    if used * window + before * (window - e) <= allowed * window:
        return 0
    if limit.algorithm == CALENDAR:
        return window - e + reading.lag
    if used <= allowed:
        return window - e - (allowed - used) * window // before + reading.lag
    return window - e + window - allowed * window // used + reading.lag


def reset_s(limit: Limit, reading: Reading, us: int, remaining: int) -> int:
    """The RateLimit field's `t` for `remaining` = left: seconds until more are free, and no sooner than the average
    rate allows them.
    """
    if limit.algorithm == CONCURRENCY:
        return 1  # unknown: one that ends frees its place at once
    spread = -(-remaining * limit.window_ms // (limit.quota * 1000)) if limit.quota else limit.window_ms // 1000
    more = wait_ms(limit, reading, us, remaining + 1)
    return spread if more is None else max(spread, -(-more // 1000))


def longest_wait_s(limits: Sequence[Limit], readings: Sequence[Reading], us: int, cost: int) -> int:
    """Whole seconds after which all limits that refuse `cost` now would let it pass."""
    longest = 1
    for limit, reading in zip(limits, readings, strict=True):
        if reading.passes or not limit.enforced:
            continue
        wait = wait_ms(limit, reading, us, cost)
        told = limit.window_ms if wait is None else wait
        longest = max(longest, -(-told // 1000), reset_s(limit, reading, us, left(limit, reading, us)))
    return longest


def retry_after_s(longest_s: int, draw: float) -> int:
    """Retry-After: the longest wait, plus jitter from `draw` in [0, 1)."""
    return longest_s + int(draw * min(longest_s / JITTER_SHARE, JITTER_MAX_S))


def kept_as(algorithm: str, quota: int) -> str:
    """The algorithm a policy is kept by."""
    return LOG if algorithm == SLIDING and 0 < quota <= SMALL else algorithm


def share(quota: int, gateways: int, *, closed: bool = False) -> int:
    """The quota a gateway enforces alone while the store is away: its part, or half of everything for a policy that
    must stay shut.
    """
    return max(1, quota // 2) if closed else -(-quota // max(1, gateways))


def start_value(limit: Limit, reading: Reading, us: int, divisor: int) -> int:
    """Units a local window starts with at the switch: this gateway's part of what was used when the store was last
    heard.
    """
    used = limit.quota - left(limit, reading, us)
    return -(-used // max(1, divisor))
