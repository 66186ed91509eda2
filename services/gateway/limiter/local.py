"""Redis away: the same algorithms in memory, on this gateway's share of each quota, and the way back.

At the switch a caller's running window starts with this gateway's part of what Redis had counted when last heard. On
return the caller's first command carries what was admitted here (`own`), and for a store that came back empty also
all that Redis had counted (`full`), not this gateway's part of it: only the first gateway to return meets an empty
store. Bounds: data-path.md section 5. Called by limiter.py; `us` is the store's
clock as this process estimates it.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from services.core.limits import (
    CONCURRENCY,
    GCRA,
    LOG,
    NOTHING,
    Carry,
    Limit,
    Reading,
    State,
    decide,
    read,
    restate,
    start_value,
)
from services.gateway.limiter.decision import Decision
from services.gateway.limiter.policies import PolicySet, Share

SAMPLES: Final = 32  # of the store's clock; their median does not care about slow replies
FAR_MS: Final = 2**53  # a lease of ours ends with its request
PEERS_KEPT_S: Final = 10.0  # a gateway that restarts must not raise everybody's share


class StoreClock:
    """Windows follow Redis' clock, by the offset seen in replies; before any reply, the wall clock's."""

    __slots__ = ("_offset", "_samples", "_stale")

    def __init__(self, wall_us: int, now: float) -> None:
        self._offset = wall_us - int(now * 1e6)
        self._samples: deque[int] = deque(maxlen=SAMPLES)
        self._stale = False

    def heard(self, us: int, now: float) -> None:
        self._samples.append(us - int(now * 1e6))
        self._stale = True

    def us(self, now: float) -> int:
        if self._stale:
            self._offset = sorted(self._samples)[len(self._samples) // 2]
            self._stale = False
        return self._offset + int(now * 1e6)


class Peers:
    """How many gateways share a quota: the largest number of the last 10 s, the last known one if there is none."""

    __slots__ = ("_at", "_most")

    def __init__(self) -> None:
        self._most = 1
        self._at = float("-inf")

    def count(self, found: int, now: float) -> int:
        if found > 0 and (found >= self._most or now - self._at > PEERS_KEPT_S):
            self._most, self._at = found, now
        return self._most


class Local:
    """One caller's counters in this process since the switch. `bases` are the parts of them that Redis knows, `wholes`
    what it had counted for all gateways.
    """

    __slots__ = ("bases", "spent", "states", "wholes")

    def __init__(self, policy_set: PolicySet, share: Share, seen: Decision | None, us: int) -> None:
        self.states: list[State | None] = [None] * len(share.limits)
        self.bases: list[State | None] = [None] * len(share.limits)
        self.wholes: list[State | None] = [None] * len(share.limits)
        self.spent = [0] * len(share.limits)
        if seen is not None:
            for i, limit in enumerate(policy_set.limits):
                reading = seen.readings[i]
                self.states[i] = self.bases[i] = _start(limit, reading, seen.us, us, share.divisors[i])
                self.wholes[i] = _start(limit, reading, seen.us, us, 1)

    def decide(
        self, policy_set: PolicySet, share: Share, cost: int, us: int, *, in_flight: int = 0, spend: bool = True
    ) -> Decision:
        """`in_flight`: what this gateway carries for the caller, if that is limited."""
        cost = min(cost, share.cost_max)
        if policy_set.leased >= 0:
            held = min(in_flight, share.limits[policy_set.leased].quota)
            self.states[policy_set.leased] = State(0, held, 0, (FAR_MS,) * held)
        admitted, readings, states = decide(share.limits, self.states, cost, us, spend=spend)
        self.states = states
        if spend and admitted:
            for i, reading in enumerate(readings):
                self.spent[i] += cost if reading.passes else 0
        return Decision(policy_set, share.limits, readings, us, cost, admitted=admitted, degraded=True)

    def carries(self, limits: tuple[Limit, ...], us: int) -> list[Carry] | None:
        """What the next command tells Redis; None if there is nothing to tell."""
        found = [self._carry(i, limit, us) for i, limit in enumerate(limits)]
        return None if all(carry == NOTHING for carry in found) else found

    def _carry(self, i: int, limit: Limit, us: int) -> Carry:
        state, base = self.states[i], self.bases[i]
        if state is None or limit.algorithm == CONCURRENCY:  # leases are renewed instead
            return NOTHING
        reading, now = read(limit, state, 0, us)
        if limit.algorithm in {GCRA, LOG}:
            own = min(_units(limit, reading.used), self.spent[i])
        elif now.at != state.at:  # that window is over
            return NOTHING
        else:
            own = state.used - (base.used if base is not None and base.at == state.at else 0)
        return Carry(own, own + self._whole(i, limit, us))

    def _whole(self, i: int, limit: Limit, us: int) -> int:
        """Units of what Redis had counted that count still."""
        whole = self.wholes[i]
        return 0 if whole is None else _units(limit, read(limit, whole, 0, us)[0].used)


def _units(limit: Limit, used: int) -> int:
    return -(-used // (limit.window_ms * 1000)) if limit.algorithm == GCRA else used


def _start(limit: Limit, seen: Reading, seen_us: int, us: int, divisor: int) -> State | None:
    """The window at the switch: our part of what was used, brought up to now; None if nothing was."""
    if limit.algorithm == CONCURRENCY:
        return None
    reading, now = read(limit, restate(limit, seen, seen_us), 0, us)
    units = start_value(limit, reading, us, divisor)
    if units == 0:
        return None
    if limit.algorithm == LOG:  # when they were spent is not known: they stay as long as they might
        return State(us // 1000, units, 0, (us // 1000,) * units)
    return State(now.at, units * limit.window_ms * 1000 if limit.algorithm == GCRA else units, 0)
