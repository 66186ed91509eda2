"""Which of several targets gets the next request. The balancer picks apis with this, the gateway picks balancers.

`pick` is O(1): two different draws, the lighter one wins. A scan for the lightest would make several balancers choose
the same one (Mitzenmacher, "The Power of Two Choices"; Envoy, linkerd). A target's load is (active + 1)/slow-started
weight · slow · (1 + util), that is (active + 1) · `unit`; `unit` is worked out ten times a second by `refresh`, not per
request.

When is one of two lighter? If targets differ a little (weights 3 : 1, a CPU share of 2 % here and 3 % there), comparing
those loads outright sends every request of an idle fleet to the same one, and shares follow no weight. So with `p2c` a
target is lighter when it is ahead by about one request of the slower of both (`lighter`); else they count as equal, and
the first draw stands. Draws are uniform, or by 1/unit as soon as units differ: idle targets share by weight, a slow one
gets little, and busy ones are evened out by what is in flight. Equal targets see plain power of two choices.

`peak_ewma` (Finagle) compares the loads outright, with the peak-sensitive latency in the place of `slow`; `round_robin`
takes turns. Pure: `now` is a monotonic clock in seconds, draws are in [0, 1).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from math import exp
from statistics import median
from typing import Final

from services.core.breaker import Breaker

P2C: Final = "p2c"
PEAK_EWMA: Final = "peak_ewma"
ROUND_ROBIN: Final = "round_robin"
POLICIES: Final = (P2C, PEAK_EWMA, ROUND_ROBIN)

REFRESH_S: Final = 0.1
SLOW_START_S: Final = 30.0
SLOW_START_MIN: Final = 0.1  # Envoy's floor: below it a new target would learn nothing
COST_TAU_S: Final = 1.0
PEAK_TAU_S: Final = 10.0  # Finagle's
HALF_LIFE_S: Final = 10.0  # an unasked target's cost fades, so that a slow one is tried again
SLOW_FACTOR: Final = 2.0
SLOW_SLACK_S: Final = 0.005  # differences below are noise of the measurement
UTIL_FADE_S: Final = 10.0
SATURATED: Final = 0.95
DOUBT_S: Final = 2.0  # so long the first of two late answers is remembered, whatever comes between
SAMPLE_S: Final = 0.001  # a thousand samples a second are plenty: the rest would only cost time
MIN_COST_S: Final = 0.0001
MARGIN: Final = 0.75  # below 1, so that units a little apart still leave plain power of two choices


class Target:
    """What `pick` knows of a process: counters the caller moves, measurements it reports, and what `refresh` makes of
    them.
    """

    __slots__ = (
        "active",
        "blocked_until",
        "breaker",
        "cost",
        "cost_at",
        "doubt_at",
        "id",
        "probation",
        "ready_at",
        "saturated",
        "unit",
        "util",
        "util_at",
        "weight",
    )

    def __init__(self, name: str, weight: float, now: float) -> None:
        self.id = name
        self.weight = weight
        self.active = 0  # requests in flight
        self.ready_at = now  # slow start counts from here
        self.probation = True  # one request at a time until the first success
        self.blocked_until = 0.0  # connect backoff
        self.breaker: Breaker | None = None
        self.cost = 0.0  # EWMA of seconds to the answer's head; 0 = no sample yet
        self.cost_at = 0.0
        self.doubt_at = 0.0  # of a sample far above the cost that was not believed yet; 0 = none
        self.util = 0.0  # X-Api-Load / 100
        self.util_at = 0.0
        self.saturated = False
        self.unit = 1.0

    def admits(self, now: float) -> bool:
        """May a request go here at all? Asks the breaker, changes nothing."""
        return now >= self.blocked_until and (self.breaker is None or self.breaker.would_admit(now))

    def takes(self, now: float) -> bool:
        """And is it this one's turn: not while the only request of its probation is under way."""
        if now < self.blocked_until or (self.probation and self.active):
            return False
        breaker = self.breaker
        return breaker is None or breaker.calm or breaker.would_admit(now)

    def took(self, seconds: float, now: float, peak: bool) -> None:
        """An answer's head came after `seconds`."""
        cost = self.cost
        if not cost or (peak and seconds > cost):
            self.cost = seconds
        else:
            if now - self.cost_at < SAMPLE_S:
                return
            if not peak and (self.doubt_at or far_above(seconds, cost)) and not self._believes(seconds, now):
                return
            keep = exp((self.cost_at - now) / (PEAK_TAU_S if peak else COST_TAU_S))
            self.cost = cost * keep + seconds * (1.0 - keep)
        self.cost_at = now

    def _believes(self, seconds: float, now: float) -> bool:
        """A sample far above the others counts when it is not the only one: one late answer (a pause of the machine)
        would keep a target out of the draws for many seconds.
        """
        doubt_at = self.doubt_at
        if far_above(seconds, self.cost):
            self.doubt_at = now
            return doubt_at > 0.0
        if now - doubt_at > DOUBT_S:
            self.doubt_at = 0.0
        return True

    def loaded(self, util: float, now: float) -> None:
        """The target said how busy it is: 0 … 1."""
        self.util = util
        self.util_at = now
        self.saturated = util >= SATURATED

    def restart(self, now: float) -> None:
        """New, recovered or enabled again: on probation, and slow start begins."""
        self.ready_at = now
        self.probation = True


def slow_start_weight(weight: float, age_s: float) -> float:
    return weight * max(SLOW_START_MIN, min(1.0, age_s / SLOW_START_S))


def faded_cost(cost: float, idle_s: float) -> float:
    return cost * float(0.5 ** (max(0.0, idle_s) / HALF_LIFE_S))


def faded_util(util: float, age_s: float) -> float:
    return util * max(0.0, min(1.0, 1.0 - age_s / UTIL_FADE_S))


def far_above(seconds: float, usual: float) -> bool:
    return seconds > SLOW_FACTOR * usual + SLOW_SLACK_S


def slowness(cost: float, middle: float) -> float:
    """1 for a target about as fast as the others, else how many times the median it takes."""
    return cost / max(middle, MIN_COST_S) if far_above(cost, middle) else 1.0


def lighter(one: Target, other: Target) -> bool:
    """Is `one` ahead of `other` by (three quarters of) a request of the slower of both?"""
    gain = other.active * other.unit - one.active * one.unit
    return gain > 0 and gain >= MARGIN * one.unit and gain >= MARGIN * other.unit


def cheaper(one: Target, other: Target, outright: bool) -> bool:
    """Does the second draw, `one`, win over the first, `other`?"""
    if one.saturated is not other.saturated:
        return other.saturated
    if outright:
        return (one.active + 1) * one.unit < (other.active + 1) * other.unit
    return lighter(one, other)


class Chooser:
    """The targets that may be picked and what a draw needs. `replace` on another set, `refresh` each REFRESH_S."""

    __slots__ = ("_cumulative", "_drawn", "_peak", "_rotation", "_turn", "policy", "targets")

    def __init__(self, policy: str = P2C) -> None:
        self.policy = policy
        self.targets: tuple[Target, ...] = ()  # all that state allows
        self._drawn: tuple[Target, ...] = ()  # of them, those that were not blocked at the last refresh
        self._cumulative: list[float] = []  # empty: units are equal, draws are uniform
        self._peak = policy == PEAK_EWMA
        self._rotation = policy == ROUND_ROBIN
        self._turn = 0

    def replace(self, targets: Sequence[Target], now: float) -> None:
        self.targets = tuple(targets)
        self.refresh(now)

    def refresh(self, now: float) -> None:
        """Work out every unit, and leave out of the draws whom a breaker or a connect backoff keeps out for now."""
        costs = [faded_cost(target.cost, now - target.cost_at) for target in self.targets]
        known = [cost for cost in costs if cost]
        middle = median(known) if known else 0.0
        for target, cost in zip(self.targets, costs, strict=True):
            if target.probation or not cost:
                cost = middle  # noqa: PLW2901  # the median stands in for a target nobody knows yet
            util = faded_util(target.util, now - target.util_at)
            target.saturated = util >= SATURATED
            factor = max(cost, MIN_COST_S) if self._peak else slowness(cost, middle)
            target.unit = factor * (1.0 + util) / slow_start_weight(target.weight, now - target.ready_at)
        self._arrange(now)

    def adopt(self, targets: Sequence[Target], now: float) -> None:
        """A part of the targets that another chooser refreshes."""
        self.targets = tuple(targets)
        self._arrange(now)

    def _arrange(self, now: float) -> None:
        self._drawn = tuple(target for target in self.targets if target.admits(now))
        self._weigh()

    def pick(self, now: float, first: float, second: float, excluded: tuple[Target, ...] = ()) -> Target | None:
        """A target that takes a request, not one of `excluded` unless all are; None when nobody admits one."""
        drawn = self._drawn
        count = len(drawn)
        if count > 1 and not self._rotation:
            if self._cumulative:
                i, j = self._weighted_pair(first, second)
            else:
                i = int(first * count)
                j = int(second * (count - 1))
                if j >= i:
                    j += 1
            one, other = drawn[i], drawn[j]
            if cheaper(other, one, self._peak):
                one, other = other, one
            if one.takes(now) and (not excluded or one not in excluded):
                return one
            if other.takes(now) and (not excluded or other not in excluded):
                return other
        return self._scan(now, first, excluded)

    @property
    def eligible(self) -> int:
        """How many targets took part in draws since the last refresh."""
        return len(self._drawn)

    def any_admits(self, now: float) -> bool:
        """Would `pick` find somebody?"""
        return any(target.admits(now) for target in self.targets)

    def soonest_s(self, now: float) -> float:
        """Seconds until the first breaker half-opens or the first connect backoff ends; 0 when nobody waits for such a
        thing.
        """
        soonest = 0.0
        for target in self.targets:
            wait = target.blocked_until - now
            if target.breaker is not None:
                wait = max(wait, target.breaker.until - now)
            if wait > 0 and (wait < soonest or not soonest):
                soonest = wait
        return soonest

    def _weigh(self) -> None:
        units = [target.unit for target in self._drawn]
        self._cumulative = []
        if self._peak or not units or max(units) - min(units) < 1e-9:
            return
        total = 0.0
        for unit in units:
            total += 1.0 / unit
            self._cumulative.append(total)

    def _weighted_pair(self, first: float, second: float) -> tuple[int, int]:
        """Two different places, the second drawn among the shares the first one left."""
        sums = self._cumulative
        last = len(sums) - 1
        i = min(bisect_right(sums, first * sums[last]), last)
        below = sums[i - 1] if i else 0.0
        share = sums[i] - below
        at = second * (sums[last] - share)
        if at >= below:
            at += share
        j = min(bisect_right(sums, at), last)
        if j == i:  # rounding at a border
            j = i + 1 if i < last else i - 1
        return i, j

    def _scan(self, now: float, first: float, excluded: tuple[Target, ...]) -> Target | None:
        """The rare way: one target, both draws refused, or taking turns. The first from a drawn place on.

        Failing that, rather one on probation that is busy, or one of `excluded`, than a refusal.
        """
        targets = self.targets
        count = len(targets)
        start = self._turn if self._rotation else int(first * count)
        fallback: Target | None = None
        for step in range(count):
            place = (start + step) % count
            target = targets[place]
            if not target.admits(now):
                continue
            barred = target in excluded
            if not barred and target.takes(now):
                self._turn = place + 1
                return target
            if fallback is None or (barred, target.active) < (fallback in excluded, fallback.active):
                fallback = target
        return fallback
