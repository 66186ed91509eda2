"""One caller under one set of limits: the constant bytes of its command, what Redis last said, and until when it is
refused without asking.

The deny cache is exact. A reply with nothing left, admitted or not, tells when the next unit is free; until then
every request would be refused, whoever asks, because time alone frees units. It lives here rather than in a table of
its own, so that refusing costs one comparison; a new document, an override or an admin's forget replaces the subject
and empties it.
"""

from __future__ import annotations

from typing import Final

from services.core.limits import CONCURRENCY, Carry, read, restate, wait_ms
from services.gateway.limiter.decision import Decision
from services.gateway.limiter.local import Local
from services.gateway.limiter.policies import PolicySet
from services.gateway.limiter.slices import Slice
from services.runtime.limit_script import NO_LEASE, PEEK, SPEND, limit_key, script_call
from services.runtime.resp import command

LEASE_BLANK: Final = "lease-of-this-request---"  # as long as every lease's name


class Subject:
    """`until`: nothing passes before; `until_cost`: nothing of `cost_denied` units or more. Loop time. `expires`: its
    override does. `slice`: units in memory, in lease mode.
    """

    __slots__ = (
        "_commands",
        "_kept",
        "_kept_until",
        "_keys",
        "cost_denied",
        "epoch",
        "expires",
        "identifier",
        "local",
        "override",
        "seen",
        "seen_at",
        "set",
        "slice",
        "until",
        "until_cost",
    )

    def __init__(self, identifier: str, policy_set: PolicySet, epoch: int) -> None:
        self.identifier = identifier
        self.set = policy_set
        self.epoch = epoch
        self.expires = float("inf")
        self.override = ""
        self.seen: Decision | None = None
        self.seen_at = 0.0
        self.local: Local | None = None
        self.slice: Slice | None = None
        self.until = 0.0
        self.until_cost = 0.0
        self.cost_denied = 0
        self._keys = tuple(limit_key(identifier, rule.name, rule.limit.algorithm) for rule in policy_set.rules)
        self._commands: dict[int, bytes] = {}
        self._kept: Decision | None = None
        self._kept_until = 0.0

    @property
    def lease_key(self) -> str:
        """Where Redis keeps what the caller has in flight."""
        return self._keys[self.set.leased]

    def command(self, cost: int) -> bytes:
        """EVALSHA of the limiter's script, built once per cost: window and clock are the server's."""
        data = self._commands.get(cost)
        if data is None:
            data = self._commands[cost] = self._call(SPEND, cost)
        return data

    def leasing(self, cost: int, lease: bytes) -> bytes:
        """The command of a caller whose requests in flight are counted: the lease's name is its own."""
        return self.command(cost).replace(LEASE_BLANK.encode(), lease, 1)

    def carrying(self, cost: int, carries: list[Carry], lease: bytes) -> bytes:
        """The first command after Redis was away."""
        data = self._call(SPEND, cost, carries)
        return data.replace(LEASE_BLANK.encode(), lease, 1) if lease else data

    def peek(self, cost: int) -> bytes:
        return self._call(PEEK, cost)

    def _call(self, mode: str, cost: int, carries: list[Carry] | None = None) -> bytes:
        lease = LEASE_BLANK if self.set.leased >= 0 and mode == SPEND else NO_LEASE
        return command("EVALSHA", *script_call(mode, cost, self._keys, self.set.limits, carries, lease=lease))

    def learn(self, decision: Decision, sent: float, now: float) -> None:
        """A reply to a command of `sent`: the store decided no earlier, so `until` is never behind the true moment."""
        self.seen, self.seen_at, self._kept = decision, now, None
        remaining = decision.remaining
        self.until = self._waits(decision, sent, 1) if 0 in remaining else 0.0
        if not decision.admitted:
            self.until_cost, self.cost_denied = self._waits(decision, sent, decision.cost), decision.cost
        elif self.until_cost and min(remaining, default=0) >= self.cost_denied:
            self.until_cost = 0.0  # its counters were cleared meanwhile

    def _waits(self, decision: Decision, sent: float, units: int) -> float:
        """The moment before which `units` do not pass; 0.0 if only what is in flight stands in the way: that may end
        at any time.
        """
        limits, readings, us = decision.limits, decision.readings, decision.us
        found = zip(self.set.enforced, decision.remaining, strict=True)
        short = [i for i, left in found if left < units and limits[i].algorithm != CONCURRENCY]
        return max((_moment(sent, wait_ms(limits[i], readings[i], us, units)) for i in short), default=0.0)

    def denies(self, cost: int, now: float) -> bool:
        return now < self.until or (now < self.until_cost and cost >= self.cost_denied)

    def denied(self, cost: int, now: float, *, degraded: bool) -> Decision | None:
        """The refusal that Redis would send, from what it last said; None if that would be none: ask it."""
        if not self.denies(cost, now):
            return None
        kept = self._kept
        if kept is not None and now < self._kept_until and kept.cost == cost and kept.degraded == degraded:
            return kept
        seen = self.seen
        assert seen is not None  # noqa: S101  # until is only set by a reply
        us = seen.us + int((now - self.seen_at) * 1e6)
        readings = [
            read(limit, restate(limit, reading, seen.us), cost, us)[0]
            for limit, reading in zip(self.set.limits, seen.readings, strict=True)
        ]
        if all(readings[i].passes for i in self.set.enforced):
            self.until = self.until_cost = 0.0
            return None
        kept = Decision(self.set, self.set.limits, readings, us, cost, admitted=False, degraded=degraded)
        left_s = max(self.until, self.until_cost) - now
        self._kept, self._kept_until = kept, now + (left_s % 1.0 or 1.0)  # until the whole seconds it tells change
        return kept


def _moment(sent: float, wait: int | None) -> float:
    """Up to 1 ms before `wait` has passed: waits count from the store's whole millisecond, which had begun already."""
    return sent + (wait - 1) / 1000 if wait is not None else sent
