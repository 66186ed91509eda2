"""Last: the request goes to a balancer, with who asks, for whom and how long, in fields only the gateway may write.

Replays once, on another balancer, if the connection failed or was reset before any byte of an answer: idempotent
requests only, whose body is still whole, within an own retry budget, and only what got no answer at all; the balancer
does the other retries, so tries do not multiply (data-path.md section 7). A connect that failed has sent nothing:
that may be repeated for any method.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil
from typing import Final

from services.core.criticality import CRITICALITIES
from services.core.retry_budget import CONNECT_FAILURES, RetryBudget, repeatable
from services.core.throttle import Throttle
from services.core.verdicts import PARKED, Outcome, Refusal
from services.gateway.balancers import Balancers, Endpoint
from services.gateway.clients import kept_lines
from services.http1.exchange import Exchange
from services.http1.heads import UpstreamHead, request_head
from services.http1.runner import rewind
from services.http1.upstream import Failure

HOP_MS: Final = 5  # what a hop itself may take of the deadline
LEFT_MIN_MS: Final = 10
TRIES_MAX: Final = 2
RETRY_AFTER_MAX_S: Final = 30
LOST: Final = frozenset({"upstream_reset", *CONNECT_FAILURES})

OURS: Final = b"%bX-Request-ID: %b\r\ntraceparent: 00-%b-%b-0%d\r\n%b%b%b"
CLASSES: Final = tuple(f"X-Gateway-Class: {name}\r\n".encode() for name in CRITICALITIES)
NO_ROOM: Final = (b"=connection_limit_reached", b"=destination_unavailable")  # what a balancer's 503 says then
TOO_LATE: Final = Refusal("gateway-timeout", "deadline")


class Forward:
    def __init__(self, balancers: Balancers, via: bytes, budget: RetryBudget, throttle: Throttle) -> None:
        self._balancers = balancers
        self._via_name = b"1.1 " + via
        self._via = b"Via: %b\r\n" % self._via_name
        self._budget = budget
        self._throttle = throttle
        self.at = 0  # this stage's place in the pipeline; set by pipeline.py

    def __call__(self, x: Exchange) -> Outcome:
        now = x.now
        if x.deadline and (x.deadline - now) * 1000 <= LEFT_MIN_MS:
            return TOO_LATE
        endpoint = self._balancers.pick(now, x.excluded)
        if endpoint is None:
            return nobody(self._balancers, now)
        if not x.tries:
            self._budget.earn()
        x.tries += 1
        x.endpoint = endpoint
        endpoint.active += 1
        endpoint.requests += 1
        endpoint.pool.start(x, request_head(x, self.lines(x, now)))
        return PARKED

    def lines(self, x: Exchange, now: float) -> list[bytes]:
        """The fields of ours, complete; whatever a client sent under these names was taken by the engine."""
        special = x.special
        client = x.client
        via = special.get(b"via")
        via_line = self._via if via is None else b"Via: %b, %b\r\n" % (via, self._via_name)
        ids = (via_line, x.request_id, x.trace_id, x.span_id, x.sampled)
        lines = [OURS % (*ids, x.identity.header, CLASSES[x.criticality], client.lines)]
        if client.trusted:
            lines += kept_lines(special)
        if x.deadline:
            lines.append(b"X-Request-Timeout-Ms: %d\r\n" % (int((x.deadline - now) * 1000) - HOP_MS))
        if b"tracestate" in special:
            lines.append(b"tracestate: " + special[b"tracestate"] + b"\r\n")
        return lines

    def on_answer(self, x: Exchange, head: UpstreamHead) -> bool:
        endpoint = x.endpoint
        self._throttle.ended += 1
        if head.status == 503 and head.special.get(b"proxy-status", b"").endswith(NO_ROOM):
            self._throttle.turned_away += 1
        if endpoint is not None:
            endpoint.took(x.upstream_s, x.now, peak=False)
        return True

    def on_failure(self, x: Exchange, failure: Failure) -> Outcome:
        endpoint = self._release(x)
        if failure.kind in CONNECT_FAILURES:
            self._throttle.ended += 1
            self._throttle.turned_away += 1
        if endpoint is not None and self._again(x, failure):
            x.excluded = (*x.excluded, endpoint)
            rewind(x, self.at)
            return PARKED
        return refusal_of(failure, x.tries)

    def on_finish(self, x: Exchange) -> None:
        self._release(x)

    def _release(self, x: Exchange) -> Endpoint | None:
        endpoint: Endpoint | None = x.endpoint
        x.endpoint = None
        if endpoint is not None:
            endpoint.active -= 1
        return endpoint

    def _again(self, x: Exchange, failure: Failure) -> bool:
        if x.tries >= TRIES_MAX or failure.kind not in LOST or not x.replayable:
            return False
        unsent = failure.kind in CONNECT_FAILURES and not failure.sent
        keyed = b"idempotency-key" in x.special
        if not unsent and not repeatable(x.method, keyed):
            return False
        return self._budget.take(x.now)


def decide(balancers: Balancers, now: float) -> Refusal | None:
    """For explain: is there a balancer for the next request?"""
    return None if balancers.pick(now, ()) is not None else nobody(balancers, now)


def nobody(balancers: Balancers, now: float) -> Refusal:
    soonest = balancers.soonest_s(now)
    return Refusal("no-backend", "no-balancer", retry_after_s=max(1, min(RETRY_AFTER_MAX_S, ceil(soonest))))


def refusal_of(failure: Failure, tries: int) -> Refusal:
    refusal = failure.refusal()
    return replace(refusal, facts={"attempts": tries}) if refusal.slug == "bad-gateway" else refusal
