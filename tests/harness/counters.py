"""The limiter's script on core/limits.py instead of Lua: what stands in for Redis where a test moves the clock or
scripts the replies.
"""

from __future__ import annotations

from collections.abc import Sequence

from services.core.limits import Carry, Limit, State, decide
from services.runtime.limit_script import PER_ARGS


class Counters:
    """All keys of one store."""

    def __init__(self) -> None:
        self.keys: dict[str, State | None] = {}

    def evalsha(self, arguments: Sequence[str], us: int) -> list[int]:
        """EVALSHA's arguments behind the sha, at the store's time; the script's reply."""
        count = int(arguments[0])
        keys, (mode, cost, *args) = arguments[1 : count + 1], arguments[count + 1 :]
        rows = [args[i : i + PER_ARGS] for i in range(0, len(args), PER_ARGS)]
        limits = [Limit(r[0], int(r[2]), int(r[3]), r[1] == "enforce") for r in rows]
        carries = [Carry(int(r[4]), int(r[5])) for r in rows]
        states = [self.keys.get(key) for key in keys]
        found = decide(limits, states, int(cost), us, spend=mode == "spend", carries=carries)
        self.keys.update(zip(keys, found.states, strict=True))
        return [int(found.admitted), us, *(int(n) for reading in found.readings for n in reading)]
