"""Another try elsewhere, when that is safe and paid for (core/retry_budget.py), and the time each try gets.

The stage arms the try; the two hooks decide after it: `answered` before an upstream's head goes on to the client,
`failed` when none came. Both send the exchange back to `pick`. This is the only place that repeats a request.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from random import random

from services.balancer.fleet import Fleet
from services.balancer.stages.break_circuit import BreakCircuit
from services.balancer.stages.expire import LEFT_MIN_S
from services.balancer.stages.queue import Admission
from services.core.retry_budget import (
    CONNECT_FAILURES,
    IDEMPOTENT,
    MAX_TRIES,
    PER_REQUEST,
    may_repeat,
    repeatable,
    retry_delay_s,
)
from services.core.verdicts import PARKED, Outcome, Refusal
from services.http1.exchange import Exchange
from services.http1.heads import UpstreamHead
from services.http1.runner import rewind
from services.http1.upstream import Failure

ANSWERS = {502: "status_502", 503: "status_503"}  # the failed answers another endpoint may do better


class Retry:
    __slots__ = ("_admission", "_breakers", "_fleet", "_pick_at", "retries")

    def __init__(self, fleet: Fleet, breakers: BreakCircuit, admission: Admission, pick_at: int) -> None:
        self._fleet = fleet
        self._breakers = breakers
        self._admission = admission
        self._pick_at = pick_at
        self.retries: Counter[str] = Counter()  # by reason, since start

    def arm(self, x: Exchange) -> Outcome:
        """Count the try; a try that may be repeated elsewhere gets a deadline of its own."""
        fleet = self._fleet
        x.tries += 1
        if x.tries == 1:
            fleet.budget.tokens += PER_REQUEST
        limit_s = fleet.try_limit_s
        if (
            limit_s
            and not x.class_slow
            and x.tries < MAX_TRIES
            and (x.method in IDEMPOTENT or repeatable(x.method, b"idempotency-key" in x.special))
        ):
            x.try_deadline = x.now + limit_s
        else:
            x.try_deadline = 0.0
        return None

    def answered(self, x: Exchange, head: UpstreamHead) -> bool:
        """on_answer: does this head go on?"""
        if self._breakers.answered(x, head):
            kind = ANSWERS.get(head.status)
            if kind is not None and self._pays(x, kind, sent=True):
                self._again(x, kind)
                return False
        self._admission.release(x)
        return True

    def failed(self, x: Exchange, failure: Failure) -> Outcome:
        """on_failure: another try, or what the client is told (None: the engine's own refusal)."""
        kind = failure.kind
        self._breakers.fault(x, kind)
        if self._pays(x, kind, failure.sent):
            self._again(x, kind)
            return PARKED
        if kind not in CONNECT_FAILURES:
            return None
        now = x.now
        return None if self._fleet.chooser.any_admits(now) else self._unreachable(x, now)

    def _pays(self, x: Exchange, kind: str, sent: bool) -> bool:
        """Is a retry right, possible, in time and within the budget? The budget is charged last."""
        replayable = x.replayable and repeatable(x.method, b"idempotency-key" in x.special)
        if not may_repeat(kind, sent, replayable, x.tries) or not x.replayable:
            return False
        now = x.now
        if x.deadline and x.deadline - now <= LEFT_MIN_S:
            return False
        return self._fleet.chooser.any_admits(now) and self._fleet.budget.take(now)

    def _again(self, x: Exchange, kind: str) -> None:
        self.retries[kind] += 1
        self._breakers.release(x)
        delay_s = retry_delay_s(x.tries, random())  # noqa: S311  # spread, not secrecy
        if delay_s:
            asyncio.get_running_loop().call_later(delay_s, rewind, x, self._pick_at, x.ticket)
        else:
            rewind(x, self._pick_at, x.ticket)

    def _unreachable(self, x: Exchange, now: float) -> Refusal:
        """Nobody can be reached at all: that is no bad answer of one endpoint."""
        self._breakers.release(x)
        return self._fleet.nobody(now)
