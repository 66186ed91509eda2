"""How often objects are visited and how many of their pods are asked, within a budget of polls (operator.md §9).

Above the budget, objects that nobody called for a minute (or, so far, at all) share what is left, each at least every fifteen seconds; when
that does not suffice, fewer pods of a large component are asked per visit. Pure. Caller: controller.loop, once a second.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from services.controller.backend import Pod

SAMPLE: Final = 50
"""Pods of one component asked per visit: the error of their mean is small enough to decide on."""
SMALL_SAMPLE: Final = 10
MAX_STRETCH: Final = 15.0
IDLE_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class Load:
    """One object: pods by component, and whether nobody called it for `IDLE_MS`."""

    pods: tuple[int, ...] = ()
    idle: bool = False


@dataclass(frozen=True, slots=True)
class Pace:
    """`stretch`: seconds between two visits of an idle object; `sample`: pods of a component asked per visit."""

    stretch: float = 1.0
    sample: int = SAMPLE


def pace(loads: Iterable[Load], polls_per_second: int) -> Pace:
    """The most that the budget allows."""
    known = list(loads)
    for sample in (SAMPLE, SMALL_SAMPLE):
        busy = sum(_polls(load, sample) for load in known if not load.idle)
        idle = sum(_polls(load, sample) for load in known if load.idle)
        left = polls_per_second - busy
        if idle <= left:
            return Pace(1.0, sample)
        if left > 0 and idle / left <= MAX_STRETCH:
            return Pace(idle / left, sample)
    return Pace(MAX_STRETCH, SMALL_SAMPLE)


def _polls(load: Load, sample: int) -> int:
    return sum(min(count, sample) for count in load.pods)


def rounds(count: int, sample: int) -> int:
    """Within so many visits each of `count` pods is asked: all at once when they are few."""
    return 1 if count <= sample else -(-count // sample) + 1


def chosen(
    pods: Sequence[Pod], sample: int, asked: Mapping[str, int], must: Collection[str], draws: random.Random
) -> list[Pod]:
    """Whom to ask now: `must`, then those asked longest ago (`asked`: uid → moment), at random among equals."""
    if len(pods) <= sample:
        return list(pods)
    ranked = sorted(pods, key=lambda pod: (pod.uid not in must, asked.get(pod.uid, -1), draws.random()))
    return ranked[: max(sample, len(must))]
