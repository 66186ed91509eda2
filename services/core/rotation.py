"""What the next move of a tiers rotation is (operator.md §6): a table of phases over what is wanted, acked and seen.

Pure: documents are hashes here, processes are ids. `plan` names one move; the caller makes the record of it. A canary
is judged by sums over its whole time, gateways that went first against the others, and only a difference that lasts
five seconds brings the old document back: a burst of one subscriber must not.

Callers: controller.rotation (plan), controller.trials (watch, verdict).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

Phase = Literal[
    "Active", "Scheduled", "Shadowing", "Canary", "RollingOut", "RollingBack", "RolledBack", "Rejected", "Paused"
]
Act = Literal["Stay", "Rest", "Wait", "Canary", "Roll", "Finish", "Back"]
"""Stay: nothing changes. Rest: another phase. Wait: the candidate waits. Canary: it goes first. Roll: it is activated.
Finish: a canary's candidate is activated. Back: the old content, as a newer revision."""
Verdict = Literal["Worse", "Doubt", "Equal", "Unknown"]
"""Doubt: worse, but not for five seconds yet. Unknown: too little to compare."""

IGNORED_MS: Final = 10_000
"""Of a canary's beginning: caches and connections are cold."""
BREACH_MS: Final = 5000
MOST_HOLDS: Final = 3
"""A canary without traffic ends after so many holds all the same."""


@dataclass(frozen=True, slots=True)
class Trial:
    """How a canary runs. Percentages are points above the others, p95 percent higher than theirs."""

    percent: int
    hold_ms: int
    min_requests: int
    reject_over: int
    error_over: int
    p95_over: int


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wanted now. `target`: hash of the document to bring into force, in Audit the active one with shadows.

    `audit`: the target is such a document, and the wanted one waits. `trial` None: no canary first.
    """

    target: str
    audit: bool = False
    too_large: bool = False
    paused: bool = False
    at_ms: int = 0
    trial: Trial | None = None


@dataclass(frozen=True, slots=True)
class State:
    """The record: `active` '' = nothing was ever in force; `candidate`, `canaries` only while they matter."""

    phase: Phase = "Active"
    since_ms: int = 0
    active: str = ""
    candidate: str = ""
    canaries: tuple[str, ...] = ()
    failed: str = ""


@dataclass(frozen=True, slots=True)
class Live:
    """Gateways, oldest first, and whether every live process enforces what it should (none live: it does not)."""

    gateways: tuple[str, ...] = ()
    acked: bool = False


@dataclass(frozen=True, slots=True)
class Move:
    """`phase` after it; `canaries` with act Canary; `failed`: what Back leaves is not tried again. `untested`: the
    canary saw too little.
    """

    act: Act
    phase: Phase
    canaries: tuple[str, ...] = ()
    failed: bool = False
    untested: bool = False


def plan(now_ms: int, wish: Wish, state: State, live: Live, verdict: Verdict = "Unknown") -> Move:
    """The next move."""
    if state.phase == "Canary":
        return _trial(now_ms, wish, state, live, verdict)
    if state.active and wish.target == state.active:
        return _settle(state, live, "Shadowing" if wish.audit else "Active")
    if state.active and wish.target == state.failed:
        return _settle(state, live, "RolledBack")
    return _begin(now_ms, wish, state, live)


def _settle(state: State, live: Live, rest: Phase) -> Move:
    """The content in force stays. Is everybody there?"""
    if state.phase in {"RollingOut", "RollingBack"} and not live.acked:
        return Move("Stay", state.phase)
    if state.phase == "RollingBack" and state.failed:
        rest = "RolledBack"
    return Move("Stay" if state.phase == rest else "Rest", rest)


def _begin(now_ms: int, wish: Wish, state: State, live: Live) -> Move:
    if wish.too_large:
        return Move("Stay" if state.phase == "Rejected" else "Rest", "Rejected")
    if not state.active:
        return Move("Roll", "RollingOut")
    if wish.paused:
        return Move("Wait", "Paused")
    if not wish.audit and wish.at_ms > now_ms:
        return Move("Wait", "Scheduled")
    if not wish.audit and wish.trial and len(live.gateways) > 1:
        return Move("Canary", "Canary", _first(wish.trial, live))
    return Move("Roll", "RollingOut")


def _first(trial: Trial, live: Live) -> tuple[str, ...]:
    """The oldest gateways: at least one, never all."""
    count = -(-len(live.gateways) * trial.percent // 100)
    return live.gateways[: min(max(1, count), len(live.gateways) - 1)]


def _trial(now_ms: int, wish: Wish, state: State, live: Live, verdict: Verdict) -> Move:
    if wish.target != state.candidate:
        return Move("Back", "RollingBack")
    if verdict == "Worse":
        return Move("Back", "RollingBack", failed=True)
    if wish.paused:
        return Move("Stay", "Canary")
    if wish.trial is None or len(live.gateways) < 2:
        return Move("Finish", "RollingOut")
    if not set(state.canaries) & set(live.gateways):
        return Move("Canary", "Canary", _first(wish.trial, live))
    holds = (now_ms - state.since_ms) // wish.trial.hold_ms
    if holds < 1 or verdict == "Doubt" or (verdict == "Unknown" and holds < MOST_HOLDS):
        return Move("Stay", "Canary")
    return Move("Finish", "RollingOut", untested=verdict == "Unknown")


# ---------------------------------------------------------------------------------------------------- the comparison


@dataclass(frozen=True, slots=True)
class Tally:
    """Sums over seconds and gateways; `slow` = Σ p95 in ms, weighted by requests."""

    requests: float = 0.0
    denied: float = 0.0
    failed: float = 0.0
    slow: float = 0.0

    def plus(self, other: Tally) -> Tally:
        return Tally(
            self.requests + other.requests,
            self.denied + other.denied,
            self.failed + other.failed,
            self.slow + other.slow,
        )

    @property
    def denied_percent(self) -> float:
        return 100 * self.denied / self.requests if self.requests > 0 else 0.0

    @property
    def failed_percent(self) -> float:
        return 100 * self.failed / self.requests if self.requests > 0 else 0.0

    @property
    def p95_ms(self) -> float:
        return self.slow / self.requests if self.requests > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Sums:
    """Both sides of the canary that began at `since_ms`; `worse_ms`: since when they differ too much."""

    since_ms: int
    canary: Tally = Tally()
    others: Tally = Tally()
    worse_ms: int | None = None


def watch(now_ms: int, sums: Sums, canary: Tally, others: Tally, trial: Trial) -> Sums:
    """One second more."""
    if now_ms - sums.since_ms < IGNORED_MS:
        return sums
    added = replace(sums, canary=sums.canary.plus(canary), others=sums.others.plus(others))
    if not (_enough(added, trial) and _worse(added, trial)):
        return replace(added, worse_ms=None)
    return replace(added, worse_ms=now_ms if sums.worse_ms is None else sums.worse_ms)


def verdict(now_ms: int, sums: Sums, trial: Trial) -> Verdict:
    """How the canary compares now."""
    if sums.worse_ms is not None:
        return "Worse" if now_ms - sums.worse_ms >= BREACH_MS else "Doubt"
    return "Equal" if _enough(sums, trial) else "Unknown"


def _enough(sums: Sums, trial: Trial) -> bool:
    return min(sums.canary.requests, sums.others.requests) >= trial.min_requests


def _worse(sums: Sums, trial: Trial) -> bool:
    canary, others = sums.canary, sums.others
    slower = others.p95_ms > 0 and canary.p95_ms * 100 > others.p95_ms * (100 + trial.p95_over)
    denied = canary.denied_percent - others.denied_percent > trial.reject_over
    return denied or canary.failed_percent - others.failed_percent > trial.error_over or slower
