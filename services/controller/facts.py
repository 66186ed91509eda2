"""What one tick knows, and what the status shows of the past: the input of `status.build` and `conditions`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from services.controller.backend import Api, Fleet, Record
from services.controller.budgets import Purse
from services.controller.timetable import Timetable
from services.core import autoscale, circuits
from services.core.autoscale import Decision
from services.schema.status import CanaryTiers, Change, ShadowTiers


@dataclass(slots=True)
class History:
    """What the status shows of the past: per component its last decision shown (with its generation), changes and times."""

    last: dict[str, tuple[autoscale.Record, int]] = field(default_factory=dict)
    shown_ms: dict[str, int] = field(default_factory=dict)
    changes: dict[str, tuple[Change, ...]] = field(default_factory=dict)
    progress_ms: int = 0
    progress_key: tuple[object, ...] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """All that one tick knows."""

    now_ms: int
    api: Api
    fleet: Fleet
    decisions: Mapping[str, Decision]
    record: Record
    live: int
    acked: int
    stale: Sequence[str]
    tiers_message: str
    circuits: circuits.Aggregate
    unreachable: Sequence[str]
    degraded_store: bool
    token_refused: bool
    version: str
    canary: CanaryTiers | None = None
    shadow: ShadowTiers | None = None
    tables: Mapping[str, Timetable] = field(default_factory=dict)
    purse: Purse | None = None
    rivals: Mapping[str, str] = field(default_factory=dict)
    denied: Sequence[str] = ()
    old_pods: Sequence[str] = ()
