"""Requests that belong together go to the same place: a version by shares, a target by rendezvous (data-path.md §7).

`version_of` puts a key into one of 10 000 groups, so a caller stays with a version while its share does not shrink.
`preferred` is weighted rendezvous hashing (Thaler, Ravishankar; weights as in Mosko): when a target goes, only its own
keys move. A target that is a quarter busier than the mean is passed over (bounded loads). Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from math import log
from typing import Final

from services.core.balancing import Target

GROUPS: Final = 10_000
BUSIER: Final = 1.25

Shares = tuple[tuple[str, float], ...]  # version, percent; together 100


def version_of(key: bytes, shares: Shares) -> str:
    group = _hash(key, b"version") % GROUPS
    below = 0.0
    for version, percent in shares:
        below += percent * GROUPS / 100
        if group < below:
            return version
    return shares[-1][0]


def preferred(key: bytes, targets: Sequence[Target], now: float, excluded: tuple[Target, ...]) -> Target | None:
    """The key's target among those that take a request now; None if none does."""
    bound = BUSIER * sum(target.active for target in targets) / max(1, len(targets)) + 1
    able = [one for one in targets if one.active < bound and one not in excluded and one.takes(now)]
    return max(able, key=lambda target: _score(key, target), default=None)


def _score(key: bytes, target: Target) -> float:
    return target.weight / -log((_hash(key, target.id.encode()) + 1) / (2**64 + 1))


def _hash(key: bytes, salt: bytes) -> int:
    return int.from_bytes(blake2b(key, digest_size=8, key=salt[:64]).digest())
