"""The fleet by component, for the dashboard object: who is there, ready, how busy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from services.api.fleet.collection import View
from services.schema.snapshot import Snapshot


def components(view: View) -> dict[str, dict[str, Any]]:
    """Component → its row; latencies are the processes' own, weighted by their rates."""
    names = sorted({p.component for p in view.processes if p.component})
    return {name: row(view.snapshots(name)) for name in names}


def row(snapshots: Sequence[Snapshot]) -> dict[str, Any]:
    rps = sum(s.rps for s in snapshots)
    return {
        "processes": len(snapshots),
        "ready": sum(s.ready for s in snapshots),
        "rps": round(rps, 3),
        "errorRate": weighted([(s.error_rate, s.rps) for s in snapshots]),
        **{q: weighted([(getattr(s.latency, q), s.rps) for s in snapshots]) for q in ("p50", "p95", "p99")},
        "inFlight": sum(s.in_flight for s in snapshots),
    }


def weighted(values: Sequence[tuple[float, float]]) -> float:
    """The mean by weight; of no weight 0."""
    weight = sum(w for _, w in values)
    return round(sum(v * w for v, w in values) / weight, 4) if weight else 0.0
