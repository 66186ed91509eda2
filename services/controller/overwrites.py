"""Somebody else writes our workload's replicas (operator.md §8): put back on the next tick, three times in five minutes.

After that the component is Conflicted until five minutes pass in peace: two writers that never agree would replace
replicas for ever. A version that is the one we wrote from is an old view, not a foreign write. Where the count is not
ours (Recommend, Manual without a number, paused by an annotation) whatever is there is taken.
Caller: controller.decide looks, controller.apply puts back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from services.controller.backend import Workload

SPAN_MS: Final = 300_000
TOO_OFTEN: Final = 3


@dataclass(slots=True)
class Claim:
    """What we wrote last (or found first), from which version, and when others wrote over it."""

    replicas: int = -1
    written_from: str = ""
    times: tuple[int, ...] = ()
    found: int | None = None
    until_ms: int = 0
    contested: bool = False

    def wrote(self, replicas: int, seen: str) -> None:
        """We did, having seen that version."""
        self.replicas, self.written_from, self.found = replicas, seen, None

    def look(self, now_ms: int, workload: Workload, *, ours: bool) -> None:
        """Compare with what is there; `found` is the foreign number while it has to be put back."""
        pending, self.found, self.contested = self.found, None, now_ms < self.until_ms
        self.times = tuple(at for at in self.times if now_ms - at < SPAN_MS)
        if self.replicas >= 0 and (workload.seen == self.written_from or workload.replicas == self.replicas):
            return
        if self.replicas < 0 or not ours:
            self.replicas, self.written_from = workload.replicas, ""
            return
        if workload.replicas != pending:  # else it could not be put back yet: one foreign write, not two
            self.times = (*self.times, now_ms)
        if self.contested or len(self.times) >= TOO_OFTEN:
            self.until_ms, self.contested = now_ms + SPAN_MS, True
            self.replicas, self.written_from = workload.replicas, ""
        else:
            self.found = workload.replicas


def rivals(workload: Workload, claim: Claim) -> str:
    """Who else scales it, for people; '' when nobody does."""
    if workload.rivals:
        return f"{', '.join(workload.rivals)} scales it too"
    return f"{workload.writer or 'somebody else'} writes its replicas" if claim.contested else ""
