"""The limiter as the stages use it: one script call per request while Redis answers, local shares while it does not.

`check` decides at once (exempt, blocked, deny cache, Redis away) or sends a command and calls back. Nothing here
creates a Task or Future, except `peek`, which explain awaits.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from services.core.identity import network_identifier
from services.core.verdicts import Refusal
from services.gateway.limiter.decision import Decision, blocked
from services.gateway.limiter.leases import Leases
from services.gateway.limiter.local import Local, Peers, StoreClock
from services.gateway.limiter.overrides import Overrides, Row
from services.gateway.limiter.policies import (
    ADMIT,
    NEAR,
    NEAR_SHARE,
    REJECT,
    SHADOW_REJECT,
    Counts,
    PolicySet,
    Sets,
)
from services.gateway.limiter.slices import Purchases, Slice, purchase, size_of
from services.gateway.limiter.subject import Subject
from services.runtime.limit_script import read_reply
from services.runtime.redis_batch import LOST, RedisBatch
from services.schema.tiers import TiersDocument

SUBJECTS_MAX: Final = 50_000
CLOCK_EVERY_S: Final = 0.01  # the store's clock is compared with ours so often, not at each reply

Then = Callable[[Any, Decision], None]  # ticket, decision


class Caller(Protocol):
    """What the limiter asks of an identity. `limiter` is the limiter's own slot on it."""

    identifier: str
    tier: str
    owner: str
    limiter: Any


class Limiter:
    """`gateways()` is the number of live ones (0: unknown); `observe(seconds)` hears how long each reply took.
    `lease_min_quota`: callers whose smallest quota is at least this are served in slices (0: none).
    """

    def __init__(
        self,
        batch: RedisBatch,
        document: TiersDocument,
        *,
        enabled: bool = True,
        lease_min_quota: int = 0,
        gateways: Callable[[], int] = lambda: 1,
        observe: Callable[[float], None] | None = None,
        clock: Callable[[], float] = time.monotonic,  # not the loop's: uvloop counts whole milliseconds
        wall: Callable[[], float] = time.time,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._batch = batch
        self._enabled = enabled
        self._gateways = gateways
        self._observe = observe
        self._clock = clock
        self._draw = draw
        self._store = StoreClock(int(wall() * 1e6), self._clock())
        self._clock_due = 0.0
        self._peers = Peers()
        self._leases = Leases(batch, self._store.us)
        self._lease_min_quota = lease_min_quota
        self._purchases = Purchases()
        self._subjects: OrderedDict[tuple[str, PolicySet], Subject] = OrderedDict()
        self._overrides = Overrides()
        self._epoch = 0
        self.counts = Counts()
        self.unknown_tiers = 0
        self.denied = 0
        self.shadow_denied = 0
        self.sets = Sets(document, self.counts, enabled=enabled)

    # --- what is in force

    @property
    def degraded(self) -> bool:
        """Limits are enforced from local state."""
        return self._batch.degraded

    def configure(self, document: TiersDocument) -> None:
        """A new document: built aside, swapped at once; commands and deny entries of the old one end with it."""
        self.sets = Sets(document, self.counts, enabled=self._enabled)
        self._renew()

    def set_overrides(self, rows: Iterable[Row]) -> None:
        """All overrides there are, as just read."""
        self._overrides = Overrides(rows, self._clock())
        self._epoch += 1

    def forget(self, identifier: str) -> None:
        """An admin cleared the caller's counters: what was concluded from them is void."""
        for key in [key for key in self._subjects if key[0] == identifier]:
            del self._subjects[key]
        self._epoch += 1

    def _renew(self) -> None:
        self._subjects.clear()
        self._epoch += 1

    # --- who is limited by what

    def subject(self, caller: Caller, client: str, now: float) -> Subject:
        """The caller under its tier's set, or its override's. Kept on the caller until something changes."""
        subject: Subject | None = caller.limiter
        if subject is not None and subject.epoch == self._epoch and now < subject.expires:
            return subject
        base = self.sets.tier(caller.tier)
        if base is None:
            self.unknown_tiers += 1
            base = self.sets.default
        override = self._overrides.find(caller.identifier, caller.owner, client, now)
        subject = self._held(caller.identifier, self.sets.overridden(base, override) if override else base)
        subject.override = override.identifier if override else ""
        subject.expires = override.until if override else float("inf")
        # an address's override binds whoever comes from there: such a caller is looked up on each request
        caller.limiter = None if self._overrides.by_network else subject
        return subject

    def guard(self, policy: str, client: str) -> Subject | None:
        """The client's network under a route's own policy; None: the document has it no longer."""
        policy_set = self.sets.routes.get(policy)
        return None if policy_set is None else self._held(network_identifier(client), policy_set)

    def _held(self, identifier: str, policy_set: PolicySet) -> Subject:
        key = (identifier, policy_set)
        subject = self._subjects.get(key)
        if subject is None:
            subject = self._subjects[key] = Subject(identifier, policy_set, self._epoch)
            if 0 < self._lease_min_quota <= policy_set.cost_max and policy_set.leased < 0:
                subject.slice = Slice()
            if len(self._subjects) > SUBJECTS_MAX:
                self._subjects.popitem(last=False)
        else:
            self._subjects.move_to_end(key)
            subject.epoch = self._epoch
        return subject

    # --- decisions

    def check(self, subject: Subject, cost: int, now: float, then: Then, ticket: Any) -> Decision | None:
        """Spends `cost`. The decision, or None: `then(ticket, decision)` follows."""
        policy_set = subject.set
        cost = min(cost, policy_set.cost_max)
        if not policy_set.rules:
            return self._free(policy_set, cost, now)
        if policy_set.blocked:
            return self._count(blocked(policy_set, self._store.us(now), cost))
        if subject.slice is not None:
            sliced = self._sliced(subject, subject.slice, cost, now)
            if sliced is not None:
                return self._count(sliced)
        if now < subject.until or now < subject.until_cost:
            denied = subject.denied(cost, now, degraded=self._batch.open)
            if denied is not None:
                return self._count(denied)
        local = subject.local
        lease = b"" if policy_set.leased < 0 else self._leases.name()
        carries = None if local is None or self._batch.open else local.carries(policy_set.limits, self._store.us(now))
        if carries is not None:
            data = subject.carrying(cost, carries, lease)
        else:
            data = subject.leasing(cost, lease) if lease else subject.command(cost)
        if self._batch.submit(data, self._replied, (subject, cost, now, then, ticket, local, lease)):
            subject.local = None
            return None
        return self._count(self._leased(subject, self._alone(subject, cost, now), lease, now))

    def _free(self, policy_set: PolicySet, cost: int, now: float) -> Decision:
        """All policies of the set are off."""
        return Decision(policy_set, (), [], self._store.us(now), cost, admitted=True)

    def _sliced(self, subject: Subject, own: Slice, cost: int, now: float) -> Decision | None:
        """Lease mode: paid from memory, or None; buys the next slice without waiting for it."""
        paid = own.spend(cost, now)
        if own.wants(now) and subject.local is None and self._purchases.take(now):
            size = size_of(subject.set.cost_max, self._peers.count(self._gateways(), now))
            cost = purchase(size)
            if not subject.denies(cost, now):
                own.buying = self._batch.submit(subject.command(cost), self._bought, (subject, own, size, now))
        return paid

    def _bought(self, ticket: tuple[Subject, Slice, int, float], reply: Any) -> None:
        subject, own, size, sent = ticket
        own.buying = False
        if reply is LOST:
            return
        verdict = read_reply(reply, len(subject.set.rules))
        if verdict is None:
            self._batch.distrust()
            return
        found, limits, cost = verdict.readings, subject.set.limits, purchase(size)
        decision = Decision(subject.set, limits, found, verdict.us, cost, admitted=verdict.admitted)
        own.bought(size, decision, sent, self._clock())

    def _leased(self, subject: Subject, decision: Decision, lease: bytes, now: float) -> Decision:
        """The decision with the request's place among those in flight, if that is limited."""
        if lease and decision.admitted and decision.readings[subject.set.leased].passes:
            decision.lease = self._leases.take(subject.lease_key, lease, now)
        return decision

    def release(self, decision: Decision) -> None:
        """The request has ended."""
        if decision.lease is not None:
            self._leases.give_back(decision.lease)
            decision.lease = None

    def sweep(self) -> None:
        """Once a second."""
        if self._batch.open:
            self._leases.distrust()
        else:
            self._leases.sweep(self._clock())

    def _replied(self, ticket: tuple[Subject, int, float, Then, Any, Local | None, bytes], reply: Any) -> None:
        subject, cost, sent, then, mark, local, lease = ticket
        now = self._clock()
        verdict = None if reply is LOST else read_reply(reply, len(subject.set.rules))
        if verdict is None:
            if reply is not LOST:
                self._batch.distrust()
            if subject.local is None:
                subject.local = local  # perhaps untold: better counted twice than not at all
            decision = self._alone(subject, cost, now)
        else:
            decision = Decision(
                subject.set, subject.set.limits, verdict.readings, verdict.us, cost, admitted=verdict.admitted
            )
            if now >= self._clock_due:
                self._clock_due = now + CLOCK_EVERY_S
                self._store.heard(verdict.us, (sent + now) / 2)
            subject.learn(decision, sent, now)
        if lease:
            self._leased(subject, decision, lease, now)
            if verdict is None and decision.lease is None:
                self._leases.void(subject.lease_key, lease)
        if self._observe is not None:
            self._observe(now - sent)
        then(mark, self._count(decision))

    def _alone(self, subject: Subject, cost: int, now: float, *, spend: bool = True) -> Decision:
        """Decided from this process's share of the quota."""
        us = self._store.us(now)
        share = subject.set.share(self._peers.count(self._gateways(), now))
        local = subject.local
        if local is None:
            local = Local(subject.set, share, subject.seen, us)
            if spend:
                subject.local = local
        in_flight = 0 if subject.set.leased < 0 else self._leases.held(subject.lease_key)
        return local.decide(subject.set, share, cost, us, in_flight=in_flight, spend=spend)

    def _count(self, decision: Decision) -> Decision:
        policy_set, readings = decision.set, decision.readings
        for i in policy_set.shadows:
            passes = readings[i].passes
            policy_set.rules[i].counts[ADMIT if passes else SHADOW_REJECT] += 1
            self.shadow_denied += not passes
        if not decision.admitted:
            self.denied += 1
            for i in policy_set.enforced:
                if not readings[i].passes:
                    policy_set.rules[i].counts[REJECT] += 1
            return decision
        limits, rules = decision.limits, policy_set.rules
        for i, remaining in zip(policy_set.enforced, decision.remaining, strict=True):
            near = remaining * NEAR_SHARE < limits[i].quota
            rules[i].counts[NEAR if near else ADMIT] += 1
        return decision

    def refusal(self, decision: Decision) -> Refusal:
        return decision.refusal(self._draw())

    async def peek(self, subject: Subject, cost: int) -> Decision:
        """What the next request would meet; spends nothing."""
        policy_set, now = subject.set, self._clock()
        cost = min(cost, policy_set.cost_max)
        if not policy_set.rules:
            return self._free(policy_set, cost, now)
        if policy_set.blocked:
            return blocked(policy_set, self._store.us(now), cost)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if not self._batch.submit(subject.peek(cost), _fulfil, answer):
            return self._alone(subject, cost, now, spend=False)
        verdict = read_reply(await answer, len(policy_set.rules))
        if verdict is None:
            return self._alone(subject, cost, self._clock(), spend=False)
        return Decision(policy_set, policy_set.limits, verdict.readings, verdict.us, cost, admitted=verdict.admitted)

    # --- guessing credentials: authenticate's CredentialGuard

    def blocked(self, network: str) -> Refusal | None:
        """A network (`ip:…`) that presented too many bad credentials is refused before the next one is looked up."""
        subject = self._subjects.get((network, self.sets.credentials))
        if subject is None:  # it has presented none
            return None
        now = self._clock()
        denied = subject.denied(1, now, degraded=self._batch.open)
        if denied is not None:
            return self.refusal(denied)
        if self._batch.degraded and subject.local is not None:
            decision = self._alone(subject, 1, now, spend=False)
            return None if decision.admitted else self.refusal(decision)
        return None

    def failed(self, network: str) -> None:
        """One unit of the network's `credential-ip`; the answer to this request does not wait for it."""
        subject = self._held(network, self.sets.credentials)
        self.check(subject, 1, self._clock(), _ignore, None)


def _fulfil(answer: asyncio.Future[Any], reply: Any) -> None:
    if not answer.done():
        answer.set_result(reply)


def _ignore(_ticket: Any, _decision: Decision) -> None:
    """The deny cache has learnt what there is to know."""
