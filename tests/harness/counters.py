"""The limiter's script on core/limits.py instead of Lua: what stands in for Redis where a test moves the clock or
scripts the replies.
"""

from __future__ import annotations

from collections.abc import Sequence

from services.core.limits import CONCURRENCY, LEASE_MS, Carry, Limit, State, decide
from services.runtime.limit_script import PER_ARGS


class Counters:
    """All keys of one store."""

    def __init__(self) -> None:
        self.keys: dict[str, State | None] = {}
        self.ends: dict[str, dict[str, int]] = {}  # of leases, by key and name

    def leases(self, parts: Sequence[bytes]) -> None:
        """ZADD and ZREM of leases."""
        name, key, *rest = [part.decode() for part in parts]
        ends = self.ends.setdefault(key, {})
        if name == "ZREM":
            ends.pop(rest[0], None)
        if name == "ZADD":
            ends.update({rest[i + 1]: int(rest[i]) for i in range(0, len(rest), 2)})
        self.keys[key] = State(0, len(ends), 0, tuple(sorted(ends.values()))) if ends else None

    def evalsha(self, arguments: Sequence[str], us: int) -> list[int]:
        """EVALSHA's arguments behind the sha, at the store's time; the script's reply."""
        count = int(arguments[0])
        keys, (mode, cost, lease, *args) = arguments[1 : count + 1], arguments[count + 1 :]
        rows = [args[i : i + PER_ARGS] for i in range(0, len(args), PER_ARGS)]
        limits = [Limit(r[0], int(r[2]), int(r[3]), r[1] == "enforce") for r in rows]
        carries = [Carry(int(r[4]), int(r[5])) for r in rows]
        states = [self.keys.get(key) for key in keys]
        found = decide(limits, states, int(cost), us, spend=mode == "spend", carries=carries)
        self.keys.update(zip(keys, found.states, strict=True))
        for key, limit, reading in zip(keys, limits, found.readings, strict=True):
            if limit.algorithm == CONCURRENCY and mode == "spend" and found.admitted and reading.passes:
                self.ends.setdefault(key, {})[lease] = us // 1000 + LEASE_MS
        return [int(found.admitted), us, *(int(n) for reading in found.readings for n in reading)]
