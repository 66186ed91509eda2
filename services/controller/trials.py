"""What gateways say while a document is tried: canaries against the others, and what shadows would have refused.

Kept in memory: after a restart a canary is compared anew, its hold runs on. Caller: the loop, once a tick.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from services.controller.backend import Record
from services.controller.observe import Watch
from services.core import rotation
from services.core.rotation import Sums, Tally, Trial
from services.runtime.vitals import rfc3339
from services.schema.scalable_api import ScalableApiSpec, duration_ms
from services.schema.spec_tiers import Canary
from services.schema.status import CanaryTiers, ShadowTiers

SHADOW_MS: Final = 60_000
"""Between two updates of the shadows' numbers in status."""


@dataclass(slots=True)
class Trials:
    """The trial that runs, if one does."""

    sums: Sums = field(default_factory=lambda: Sums(0))
    shadow_since_ms: int = -1
    shadows: Tally = field(default_factory=Tally)
    shown: ShadowTiers | None = None
    shown_ms: int = 0

    def take(self, now_ms: int, spec: ScalableApiSpec, record: Record, watch: Watch, gateways: Iterable[str]) -> None:
        """One second of the gateways that are `Live`; only in phases Canary and Shadowing is anything kept."""
        uids, trial = list(gateways), trial_of(spec)
        if record.phase == "Canary" and trial:
            found = {uid: _second(now_ms, watch, uid) for uid in uids}
            if self.sums.since_ms != record.since_ms:
                self.sums = Sums(record.since_ms)
            first = [tally for uid, tally in found.items() if uid in record.canaries]
            others = [tally for uid, tally in found.items() if uid not in record.canaries]
            self.sums = rotation.watch(now_ms, self.sums, _sum(first), _sum(others), trial)
        if record.phase == "Shadowing":
            self._shadow(now_ms, record, _sum(_shadowed(now_ms, watch, uid) for uid in uids))

    def _shadow(self, now_ms: int, record: Record, second: Tally) -> None:
        if self.shadow_since_ms != record.since_ms:
            self.shadow_since_ms, self.shadows, self.shown = record.since_ms, Tally(), None
        self.shadows = self.shadows.plus(second)
        if self.shown is None or now_ms - self.shown_ms >= SHADOW_MS:
            percent = round(min(100.0, self.shadows.denied_percent))
            self.shown = ShadowTiers(requests=round(self.shadows.requests), would_reject_percent=percent)
            self.shown_ms = now_ms

    def verdict(self, now_ms: int, spec: ScalableApiSpec, record: Record) -> rotation.Verdict:
        """How the canary compares now."""
        trial = trial_of(spec)
        if record.phase != "Canary" or trial is None or self.sums.since_ms != record.since_ms:
            return "Unknown"
        return rotation.verdict(now_ms, self.sums, trial)

    def canary_status(self, record: Record, names: Iterable[str]) -> CanaryTiers | None:
        """For status."""
        if record.phase != "Canary":
            return None
        sums = self.sums if self.sums.since_ms == record.since_ms else Sums(0)
        return CanaryTiers(
            pods=tuple(sorted(names))[:10],
            since=rfc3339(record.since_ms / 1000),
            requests=round(sums.canary.requests),
            reject_percent=round(min(100.0, sums.canary.denied_percent)),
            baseline_reject_percent=round(min(100.0, sums.others.denied_percent)),
        )

    def shadow_status(self, record: Record) -> ShadowTiers | None:
        """For status."""
        return self.shown if record.phase == "Shadowing" and self.shadow_since_ms == record.since_ms else None


def trial_of(spec: ScalableApiSpec) -> Trial | None:
    """How a canary of this spec runs, None when there is none."""
    asked = spec.tiers.rotation
    if asked.strategy == "Immediate" or (asked.strategy == "Scheduled" and asked.canary is None):
        return None
    canary = asked.canary or Canary()
    return Trial(
        percent=canary.pods_percent,
        hold_ms=duration_ms(canary.hold),
        min_requests=canary.min_requests,
        reject_over=canary.abort_if.reject_percent_over,
        error_over=canary.abort_if.error_percent_over,
        p95_over=canary.abort_if.p95_percent_over,
    )


def _sum(tallies: Iterable[Tally]) -> Tally:
    total = Tally()
    for tally in tallies:
        total = total.plus(tally)
    return total


def _second(now_ms: int, watch: Watch, uid: str) -> Tally:
    """What a gateway did in the last second, by its own word; nothing when it is mute."""
    said = watch.fresh(now_ms, uid)
    if said is None:
        return Tally()
    denied = said.limiter.denied_rps if said.limiter else 0.0
    return Tally(said.rps, denied, said.error_rate * said.rps, said.latency.p95 * said.rps)


def _shadowed(now_ms: int, watch: Watch, uid: str) -> Tally:
    said = watch.fresh(now_ms, uid)
    if said is None:
        return Tally()
    return Tally(said.rps, said.limiter.shadow_denied_rps if said.limiter else 0.0)
