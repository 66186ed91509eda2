"""How many requests go to the endpoints at once, and who waits for a place (core/gradient.py, core/queueing.py).

Before `pick`, which then sees the loads of the moment the request leaves the queue. A place is held until the answer's
head goes on, or the exchange ends without one: what follows a head is the client's pace, and a stream may last for
hours. Tries that follow a failed one keep it.

`x.limit` is HELD, the Waiter, or None.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from time import monotonic
from typing import Final

from services.balancer.stages.expire import EXPIRED
from services.core.criticality import CRITICALITIES, SHEDDABLE, under_overload
from services.core.gradient import Gradient
from services.core.queueing import Queue, Waiter, room
from services.core.verdicts import PARKED, Facts, Outcome, Refusal
from services.http1.exchange import Exchange
from services.http1.runner import resume
from services.runtime.metrics import Series

HELD: Final = object()
CLASSES: Final = {name.encode(): at for at, name in enumerate(CRITICALITIES)}
MIN_CHECK_S: Final = 0.001


def _overloaded(reason: str) -> Refusal:
    return Refusal("temporary-reduced-capacity", reason, retry_after_s=1, facts=Facts({"reason": reason}))


FULL: Final = _overloaded("queue-full")
TIMEOUT: Final = _overloaded("queue-timeout")

Parked = tuple[Exchange, int]  # with the ticket to resume it


class Admission:
    """`in_flight` of at most `limit` places are held; `refused` counts by reason since start."""

    __slots__ = ("_gradient", "_moving", "_seconds", "_timer", "in_flight", "limit", "queue", "refused")

    def __init__(self, gradient: Gradient, seconds: Series) -> None:
        self._gradient = gradient
        self._seconds = seconds
        self._moving = False
        self._timer: asyncio.TimerHandle | None = None
        self.in_flight = 0
        self.limit = int(gradient.limit)
        self.queue: Queue[Parked] = Queue()
        self.refused: Counter[str] = Counter()

    def enter(self, x: Exchange) -> Outcome:
        """The stage."""
        if self.in_flight < self.limit:
            self.in_flight += 1
            x.limit = HELD
            return None
        return self._wait(x)

    def release(self, x: Exchange) -> None:
        """Its answer has come: the place goes to who waits."""
        if x.limit is HELD:
            x.limit = None
            self.in_flight -= 1
            if self.queue.depth:
                self._move(x.now)

    def leave(self, x: Exchange) -> None:
        """on_finish: whatever it still holds goes back."""
        held = x.limit
        if held is HELD:
            self.release(x)
        elif held is not None:
            x.limit = None
            self.queue.leave(held)

    def tick(self, now: float, eligible: int) -> None:
        """Ten times a second: the limit anew."""
        self._gradient.refresh(now, self.in_flight, eligible, waiting=self.queue.depth > 0)
        self.limit = int(self._gradient.limit)
        if self.queue.depth:
            self._move(now)

    def _wait(self, x: Exchange) -> Outcome:
        now = x.now
        criticality = CLASSES.get(x.special.get(b"x-gateway-class", b""), SHEDDABLE)
        if self.queue.standing(now):
            criticality = under_overload(criticality, slow=x.class_slow)
        waiter, evicted = self.queue.join((x, x.ticket), criticality, now, room(self.limit))
        if evicted is not None:
            self._refuse(evicted, FULL)
        if waiter is None:
            self.refused[FULL.reason] += 1
            return FULL
        x.limit = waiter
        if self._timer is None:
            self._check_later(now)
        return PARKED

    def _move(self, now: float) -> None:
        """Fill the free places. Not from within itself: who is let in may fail at once and leave its place."""
        if self._moving:
            return
        self._moving = True
        try:
            while self.in_flight < self.limit and (waiter := self.queue.take(now)) is not None:
                self._admit(waiter, now)
        finally:
            self._moving = False

    def _admit(self, waiter: Waiter[Parked], now: float) -> None:
        x, ticket = waiter.item
        self._seconds.observe(now - waiter.at)
        if x.deadline and x.deadline - now < self._gradient.typical_s:  # its answer would come too late
            x.limit = None
            resume(x, ticket, EXPIRED)
            return
        self.in_flight += 1
        x.limit = HELD
        resume(x, ticket)

    def _refuse(self, waiter: Waiter[Parked], refusal: Refusal) -> None:
        x, ticket = waiter.item
        x.limit = None
        self.refused[refusal.reason] += 1
        resume(x, ticket, refusal)

    def _check_later(self, now: float) -> None:
        wait_s = max(MIN_CHECK_S, self.queue.check_in_s(now))
        self._timer = asyncio.get_running_loop().call_later(wait_s, self._check)

    def _check(self) -> None:
        self._timer = None
        now = monotonic()
        for waiter in self.queue.expire(now):
            self._refuse(waiter, TIMEOUT)
        if self.queue.depth:
            self._check_later(now)
