"""What to do with a cache entry: serve it, serve it and fetch a new one, let it stand in for a failing origin, or go
to the origin.

The whole decision; `services/api/cache` acts on it. XFetch (Vattani, Chierichetti, Lowenstein 2015) refreshes a
little before the end, the earlier the longer the origin took, so that not all askers find an entry expired at once.
RFC 5861 names the two uses of stale entries.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

XFETCH_BETA: Final = 1.0  # the paper's optimum; above 1 refreshes earlier
WHILE_REVALIDATE_S: Final = 30.0  # served stale at most so long while one refresh runs


@dataclass(frozen=True, slots=True)
class Entry:
    """Times are seconds of one wall clock. `delta_ms`: what the origin took; `negative`: the thing is absent."""

    body: bytes
    etag: str
    stored: float
    fresh_until: float
    stale_until: float
    delta_ms: float = 0.0
    negative: bool = False


@dataclass(frozen=True, slots=True)
class Hit:
    """Serve it."""


@dataclass(frozen=True, slots=True)
class HitAndRefresh:
    """Serve it, it is fresh; fetch a new one in the background."""


@dataclass(frozen=True, slots=True)
class StaleAndRefresh:
    """Serve it as stale; fetch a new one in the background."""


@dataclass(frozen=True, slots=True)
class Miss:
    """Ask the origin."""


@dataclass(frozen=True, slots=True)
class Stale:
    """The origin failed: serve the entry as stale."""


@dataclass(frozen=True, slots=True)
class Fail:
    """The origin failed, and nothing may stand in."""


Lookup = Hit | HitAndRefresh | StaleAndRefresh | Miss
OnError = Stale | Fail
HIT: Final = Hit()
HIT_AND_REFRESH: Final = HitAndRefresh()
STALE_AND_REFRESH: Final = StaleAndRefresh()
MISS: Final = Miss()
STALE: Final = Stale()
FAIL: Final = Fail()


def lookup(entry: Entry | None, now: float, draw: float) -> Lookup:
    """`draw` in (0, 1] decides about an early refresh."""
    if entry is None:
        return MISS
    if now <= entry.fresh_until:
        ahead = -entry.delta_ms / 1000 * XFETCH_BETA * math.log(draw)
        return HIT_AND_REFRESH if now + ahead >= entry.fresh_until else HIT
    if now <= min(entry.fresh_until + WHILE_REVALIDATE_S, entry.stale_until):
        return STALE_AND_REFRESH
    return MISS


def on_error(entry: Entry | None, now: float) -> OnError:
    """Stale-if-error: until `stale_until`, not a moment longer."""
    return STALE if entry is not None and now <= entry.stale_until else FAIL
