"""The limiter's script and the words of its protocol: keys, arguments, replies.

Used by the gateway (spends, and peeks for explain) and by the api (`~/admin/rate-limits/{identifier}` peeks), so that
a status shows what the next request will meet.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from services.core.limits import LOG, NOTHING, Carry, Limit, Reading

SCRIPT: Final = (Path(__file__).parent / "lua" / "limit.lua").read_bytes()
SHA: Final = hashlib.sha1(SCRIPT, usedforsecurity=False).hexdigest()  # how EVALSHA names scripts
SPEND: Final = "spend"
PEEK: Final = "peek"
NO_LEASE: Final = "-"  # where no limit counts what is in flight
HEAD: Final = 2  # admitted, us
PER_LIMIT: Final = 4  # passes, used, before, lag
PER_ARGS: Final = 6  # algorithm, mode, quota, window_ms, own, full


class Verdict(NamedTuple):
    """The script's answer. `us` is the store's clock when it decided."""

    admitted: bool
    us: int
    readings: list[Reading]


def limit_key(identifier: str, policy: str, algorithm: str = "") -> str:
    """All keys of a caller share the hash tag: one slot, so one script may touch them. A log is another type, so it
    has a name of its own: a policy may change between the two.
    """
    return f"rl:{{{identifier}}}:{policy}{':l' if algorithm == LOG else ''}"


def policy_args(limit: Limit, carry: Carry = NOTHING) -> tuple[str, ...]:
    """The six arguments of one limit."""
    mode = "enforce" if limit.enforced else "shadow"
    return limit.algorithm, mode, str(limit.quota), str(limit.window_ms), str(carry.own), str(carry.full)


def script_call(
    mode: str,
    cost: int,
    keys: Sequence[str],
    limits: Sequence[Limit],
    carries: Iterable[Carry] | None = None,
    *,
    lease: str = NO_LEASE,
) -> tuple[str, ...]:
    """What follows EVALSHA: sha, number of keys, keys, arguments."""
    args = [mode, str(cost), lease]
    for limit, carry in zip(limits, carries or [NOTHING] * len(limits), strict=True):
        args += policy_args(limit, carry)
    return (SHA, str(len(keys)), *keys, *args)


def read_reply(reply: object, limits: int) -> Verdict | None:
    """The script's reply for so many limits; None if it has another shape."""
    if not isinstance(reply, list) or len(reply) != HEAD + PER_LIMIT * limits:
        return None
    try:
        sum(reply)  # numbers all of them, the cheapest way to know
    except TypeError:
        return None
    readings = [
        Reading(reply[at] == 1, reply[at + 1], reply[at + 2], reply[at + 3])
        for at in range(HEAD, len(reply), PER_LIMIT)
    ]
    return Verdict(reply[0] == 1, reply[1], readings)
