"""How much a request matters when not all can be served, and the order inside a class (data-path.md §6).

Four classes, by tier or route (contract.md 5). Each has a band of priorities, 0 the most important: shedding compares
one number. Inside a band the identifier and the minute decide, so the same callers are served for a minute and then
others: a retry does not help, and nobody is left out for long. Readers: the gateway's `shed` and `throttle`, the
balancer's `queue`. Pure.
"""

from __future__ import annotations

from typing import Final
from zlib import crc32

CRITICALITIES: Final = ("sheddable", "sheddable-plus", "critical", "critical-plus")
SHEDDABLE: Final = 0
CRITICAL_PLUS: Final = 3  # never shed
BAND_STARTS: Final = (70, 40, 10, 0)
BAND: Final = 30  # priorities of a class; critical-plus has the one number 0
PRIORITY_MAX: Final = 100


def priority(criticality: int, identifier: bytes, minute: int) -> int:
    """0 … 99; who has more than what is kept goes."""
    if criticality == CRITICAL_PLUS:
        return 0
    return BAND_STARTS[criticality] + crc32(b"%b %d" % (identifier, minute)) % BAND


def under_overload(criticality: int, *, slow: bool) -> int:
    """The class while there is overload: what takes long (reports, log-ins) goes first, unless it is critical-plus."""
    return SHEDDABLE if slow and criticality != CRITICAL_PLUS else criticality


def bands_touched(keep_below: float) -> int:
    """How many classes lose something when priorities above `keep_below` go: 0 … 3."""
    return sum(keep_below < start + BAND - 1 for start in BAND_STARTS[:CRITICAL_PLUS])
