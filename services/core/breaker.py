"""Circuit breaker: closed, open, half-open, as the table of data-path.md §7 has it.

One per endpoint in the balancer, one for the api's `external-service`. Pure: `now` is any monotonic clock in seconds,
draws are in [0, 1). A call asks `admit` and hands the permit it got to `record` exactly once, whatever became of the
call. The permit names the period between two transitions: a result that comes after the state has changed is counted,
but neither moves the state nor gives back a slot it never took, so slots cannot leak. Half-opening needs time alone:
`would_admit` turns true when `until` has passed.

Rules of thumb behind the defaults: five in a row (the old system), ratios over ten seconds (resilience4j), openings
that grow (30 s, 60 s … 300 s) so that a lasting fault costs less and less.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

CLOSED: Final = 0
HALF_OPEN: Final = 1
OPEN: Final = 2
STATE_NAMES: Final = ("closed", "half-open", "open")

# what became of a call
SUCCESS: Final = 0
STATUS_FAILURE: Final = (
    1  # the peer answered 500, 502, 504 or a bare 503; a fleet-wide cap may hold the breaker closed (`held`)
)
FAULT: Final = 2  # no answer before the deadline, or no valid one
CUT: Final = 3  # reset or try timeout: counts in the window alone, for a restart or a short pause must not cost 30 s
NO_VERDICT: Final = 4  # client gone, connect failed: says nothing about the peer's answers

REFUSED: Final = 0  # the permit that is none
TRANSITIONS_KEPT: Final = 50
FORCE_MAX_S: Final = 3600.0
CLEAN_AFTER_S: Final = 60.0  # so long closed, and the next opening is a first one again
JITTER: Final = 0.1  # openings end spread over a tenth of their time, never early


@dataclass(frozen=True, slots=True)
class BreakerConfig:
    """The tiers document's `breaker`; `failure_threshold` 0 switches the count in a row off."""

    failure_threshold: int = 5
    open_s: float = 30.0
    half_open_successes: int = 3
    half_open_concurrency: int = 1
    window_s: int = 10
    minimum_calls: int = 20
    failure_ratio: float = 0.5
    slow_call_s: float = 5.0
    slow_call_ratio: float = 0.8
    max_open_s: float = 300.0


@dataclass(frozen=True, slots=True)
class Transition:
    source: int
    target: int
    at: float  # the breaker's clock
    reason: str


class Window:
    """Calls, failed and slow ones of the last `seconds`, in buckets of one second with running sums."""

    __slots__ = ("_at", "_calls", "_failed", "_second", "_slow", "calls", "failed", "seconds", "slow")

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        self.clear()

    def clear(self) -> None:
        self._calls = [0] * self.seconds
        self._failed = [0] * self.seconds
        self._slow = [0] * self.seconds
        self._second = -1
        self._at = 0
        self.calls = 0
        self.failed = 0
        self.slow = 0

    def add(self, now: float, failed: bool, slow: bool) -> None:
        if now >= self._second + 1:
            self._advance(int(now))
        at = self._at
        self._calls[at] += 1
        self.calls += 1
        if failed:
            self._failed[at] += 1
            self.failed += 1
        if slow:
            self._slow[at] += 1
            self.slow += 1

    def _advance(self, second: int) -> None:
        for passed in range(max(self._second + 1, second - self.seconds + 1), second + 1):
            at = passed % self.seconds
            self.calls -= self._calls[at]
            self.failed -= self._failed[at]
            self.slow -= self._slow[at]
            self._calls[at] = self._failed[at] = self._slow[at] = 0
        self._second = second
        self._at = second % self.seconds


class Breaker:
    __slots__ = (
        "_closed_at",
        "_in_flight",
        "_permit",
        "_window",
        "by_status",
        "calls",
        "calm",
        "config",
        "failed",
        "forced",
        "forced_reason",
        "forced_until",
        "held",
        "last_failure_at",
        "name",
        "on_transition",
        "opens",
        "reason",
        "rejected",
        "row",
        "since",
        "state",
        "succeeded",
        "successes",
        "transitions",
        "until",
    )

    def __init__(
        self,
        name: str,
        config: BreakerConfig,
        now: float,
        on_transition: Callable[[Breaker, Transition], None] | None = None,
    ) -> None:
        self.name = name
        self.config = config
        self.on_transition = on_transition
        self.state = CLOSED
        self.since = now
        self.reason = ""
        self.row = 0  # failures in a row
        self.successes = 0  # of this half-open period
        self.opens = 0  # openings without CLEAN_AFTER_S of peace between them
        self.until = 0.0  # when an open one may be asked again
        self.calm = True  # closed and not forced: `would_admit` is true without asking
        self.held = False  # the caller's: status failures and slow calls may not open this one now
        self.by_status = False  # what opened it is subject to the caller's cap
        self.forced = ""  # "", "open" or "closed"
        self.forced_until = 0.0
        self.forced_reason = ""
        self.calls = 0
        self.succeeded = 0
        self.failed = 0
        self.rejected = 0
        self.last_failure_at = -1.0
        self.transitions: deque[Transition] = deque(maxlen=TRANSITIONS_KEPT)
        self._window = Window(config.window_s)
        self._permit = 1
        self._in_flight = 0  # slots of this half-open period
        self._closed_at = now

    def would_admit(self, now: float) -> bool:
        """Would `admit` say yes? Changes nothing."""
        if self.forced and now < self.forced_until:
            return self.forced == "closed"
        if self.forced or self.state == CLOSED:
            return True
        if self.state == OPEN:
            return now >= self.until
        return self._in_flight < self.config.half_open_concurrency

    def admit(self, now: float) -> int:
        """A permit for one call, or REFUSED. A half-open breaker's permit holds one of its slots until `record`."""
        if self.calm:
            return self._permit
        if self.forced:
            self.expire(now)
        if self.state == CLOSED:
            return self._permit
        if self.forced or (self.state == OPEN and now < self.until):
            self.rejected += 1
            return REFUSED
        if self.state == OPEN:
            self.successes = 0
            self._move(HALF_OPEN, now, "open time is over")
        if self._in_flight >= self.config.half_open_concurrency:
            self.rejected += 1
            return REFUSED
        self._in_flight += 1
        return self._permit

    def record(self, permit: int, outcome: int, now: float, draw: float, seconds: float = 0.0) -> None:
        """What became of the call that holds `permit`; `seconds` it took; `draw` spreads the end of an opening."""
        if outcome == SUCCESS:
            self.calls += 1
            self.succeeded += 1
        elif outcome != NO_VERDICT:
            self.calls += 1
            self.failed += 1
            self.last_failure_at = now
        if permit != self._permit:
            return
        if self.state == HALF_OPEN:
            self._in_flight -= 1
            self._try_out(outcome, now, draw)
        elif outcome != NO_VERDICT:
            self._count(outcome, now, draw, seconds)

    def force(self, state: str, until: float, reason: str, now: float) -> None:
        """Hold it `state` ("open" or "closed") until `until`, one hour at most, whatever the calls say."""
        self.forced = state
        self.forced_until = min(until, now + FORCE_MAX_S)
        self.forced_reason = reason
        self.until = self.forced_until
        self.by_status = False
        self._move(OPEN if state == "open" else CLOSED, now, f"forced {state}: {reason}")

    def reset(self, now: float) -> None:
        """Close it and forget what led here; also lifts a force."""
        self.forced = self.forced_reason = ""
        self.forced_until = 0.0
        self.opens = 0
        self._close(now, "reset")

    def configure(self, config: BreakerConfig) -> None:
        """The next record follows `config`; counts stay, but for a window of another length."""
        if config.window_s != self.config.window_s:
            self._window = Window(config.window_s)
        self.config = config

    def expire(self, now: float) -> None:
        """A force whose time is over is lifted; who shows breakers calls this first."""
        if self.forced and now >= self.forced_until:
            self.reset(now)

    def _try_out(self, outcome: int, now: float, draw: float) -> None:
        if outcome == NO_VERDICT:
            return
        if outcome != SUCCESS:
            self._open(outcome, now, draw, "failed while half-open")
            return
        self.successes += 1
        if self.successes >= self.config.half_open_successes:
            self._close(now, "recovered")

    def _count(self, outcome: int, now: float, draw: float, seconds: float) -> None:
        config = self.config
        window = self._window
        window.add(now, outcome != SUCCESS, seconds >= config.slow_call_s)
        if outcome == SUCCESS:
            self.row = 0
            if not window.failed and not window.slow:
                return
        elif outcome != CUT:
            self.row += 1
        if self.forced or (self.held and outcome <= STATUS_FAILURE):
            return
        if 0 < config.failure_threshold <= self.row:
            self._open(outcome, now, draw, f"{self.row} failures in a row")
        elif window.calls >= config.minimum_calls:
            if window.failed >= config.failure_ratio * window.calls:
                self._open(outcome, now, draw, f"{window.failed} of {window.calls} calls failed")
            elif window.slow >= config.slow_call_ratio * window.calls and not self.held:
                # slowness is under the cap whichever call tips it: where all are slow, nobody else is better
                self._open(SUCCESS, now, draw, f"{window.slow} of {window.calls} calls were slow")

    def _open(self, outcome: int, now: float, draw: float, reason: str) -> None:
        if self.state == CLOSED and now - self._closed_at >= CLEAN_AFTER_S:
            self.opens = 0
        self.opens += 1
        self.by_status = outcome <= STATUS_FAILURE
        self.until = now + min(self.config.open_s * self.opens, self.config.max_open_s) * (1.0 + JITTER * draw)
        self.successes = 0
        self._move(OPEN, now, reason)

    def _close(self, now: float, reason: str) -> None:
        self.row = self.successes = 0
        self.until = 0.0
        self.by_status = False
        self._window.clear()
        self._closed_at = now
        self._move(CLOSED, now, reason)

    def _move(self, state: int, now: float, reason: str) -> None:
        """A new period: permits of the last one are void. Staying in a state (a reset of a closed one) is no
        transition.
        """
        source = self.state
        self.state = state
        self.calm = state == CLOSED and not self.forced
        self.reason = reason
        self._in_flight = 0
        self._permit += 1
        if source == state:
            return
        self.since = now
        transition = Transition(source, state, now, reason)
        self.transitions.append(transition)
        if self.on_transition is not None:
            self.on_transition(self, transition)
