"""Which replicas go when fewer are wanted (operator.md §5.6, V0): those that serve nobody yet, then the idlest.

Only a quarter of what runs is drained at once, so that a wrong decision is noticed while three quarters still serve,
and never so many that fewer ready ones than the floor would stay. Caller: controller.apply.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Candidate:
    """A pod that is not going yet. `running`: ready or starting, no longer pending. `siblings`: others on its node."""

    name: str
    ready: bool
    running: bool = True
    in_flight: int = 0
    tiers_stale: bool = False
    siblings: int = 0
    restarts: int = 0
    started_at_ms: int = 0
    protected: bool = False


def pick(candidates: Sequence[Candidate], count: int, *, floor: int, draining: int) -> tuple[str, ...]:
    """Names of at most `count` victims, in the order in which they go; `draining` others are going already."""
    pods = sorted((pod for pod in candidates if not pod.protected), key=_order)
    unready = [pod.name for pod in pods if not pod.ready][: max(0, count)]
    running = sum(pod.running for pod in candidates)
    ready = sum(pod.ready for pod in candidates)
    at_once = max(1, -(-running // 4)) - draining
    room = max(0, min(count - len(unready), at_once, ready - floor))
    return (*unready, *[pod.name for pod in pods if pod.ready][:room])


def _order(pod: Candidate) -> tuple[bool, int, int, int, int, str]:
    return (not pod.tiers_stale, pod.in_flight, -pod.siblings, -pod.restarts, -pod.started_at_ms, pod.name)
