"""`~/admin/metrics`: request figures of the whole fleet since the last reset, the same whichever api answers.

They are taken where clients are served: at the gateways, or at the apis of a fleet without one. Counters of processes
never go back; a reset only keeps what they showed in Redis (per process life, so a restarted one starts from zero)
and later views subtract it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from services.api.fleet.exposition import Durations, Figures
from services.runtime.metrics import BUCKETS

BASELINE_KEY: Final = "api:metrics-baseline"
SLOW_P90_MS: Final = 500.0
SEPARATOR: Final = "\x1f"


@dataclass(frozen=True, slots=True)
class Merged:
    """Sums over the fleet: counts by (method, route, status), durations by (method, route)."""

    requests: Mapping[tuple[str, str, str], float]
    durations: Mapping[tuple[str, str], Durations]


class _Life(msgspec.Struct):
    requests: dict[str, float]
    durations: dict[str, tuple[list[float], float]]


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(dict[str, _Life])


def baseline(lives: Mapping[str, Figures]) -> bytes:
    """What `lives` (by process and start time) show now, to be kept and subtracted later."""
    return _encode(
        {
            name: _Life(
                {SEPARATOR.join(k): v for k, v in figures.requests.items()},
                {SEPARATOR.join(k): (d.counts, d.seconds) for k, d in figures.durations.items()},
            )
            for name, figures in lives.items()
        }
    )


def merge(lives: Mapping[str, Figures], kept: bytes | None) -> Merged:
    """Sums of what each life counted beyond its part of the baseline."""
    before = _decoder.decode(kept) if kept else {}
    requests: dict[tuple[str, str, str], float] = {}
    durations: dict[tuple[str, str], Durations] = {}
    for name, figures in lives.items():
        base = before.get(name, _Life({}, {}))
        for key, value in figures.requests.items():
            more = value - base.requests.get(SEPARATOR.join(key), 0.0)
            if more > 0:
                requests[key] = requests.get(key, 0.0) + more
        for endpoint, seen in figures.durations.items():
            counts, seconds = base.durations.get(SEPARATOR.join(endpoint), ([0.0] * len(seen.counts), 0.0))
            into = durations.setdefault(endpoint, Durations([0.0] * len(seen.counts)))
            into.counts = [a + b - c for a, b, c in zip(into.counts, seen.counts, counts, strict=True)]
            into.seconds += seen.seconds - seconds
    return Merged(requests, {k: d for k, d in durations.items() if sum(d.counts) > 0})


def tables(merged: Merged) -> dict[str, Any]:
    """requests, errors (answers of 500 and above), durations and slowEndpoints, keyed `METHOD route`."""
    requests: dict[str, dict[str, Any]] = {}
    errors: dict[str, int] = {}
    for (method, route, status), count in sorted(merged.requests.items()):
        row = requests.setdefault(f"{method} {route}", {"total": 0, "byStatus": {}})
        row["total"] += int(count)
        row["byStatus"][status] = int(count)
        if status >= "500":
            errors[f"{method} {route}"] = errors.get(f"{method} {route}", 0) + int(count)
    durations = {" ".join(k): summary(d) for k, d in sorted(merged.durations.items())}
    slow: list[dict[str, Any]] = [
        {"endpoint": k, "p90": d["p90"], "count": d["count"]} for k, d in durations.items() if d["p90"] > SLOW_P90_MS
    ]
    slow.sort(key=lambda row: -row["p90"])
    return {"requests": requests, "errors": errors, "durations": durations, "slowEndpoints": slow}


def summary(durations: Durations) -> dict[str, float]:
    """Count, and ms: mean and quantiles, interpolated in their bucket."""
    count = sum(durations.counts)
    marks = {f"p{q}": round(quantile(durations.counts, q / 100) * 1000, 3) for q in (50, 90, 99)}
    return {"count": int(count), "avg": round(durations.seconds / count * 1000, 3), **marks}


def quantile(counts: list[float], q: float) -> float:
    """Seconds below which a share `q` lies; what is beyond the last bound is told as that bound."""
    rank, seen = q * sum(counts), 0.0
    bounds = (0.0, *BUCKETS, BUCKETS[-1])
    for at, count in enumerate(counts):
        if count and seen + count >= rank:
            return bounds[at] + (bounds[at + 1] - bounds[at]) * (rank - seen) / count
        seen += count
    return 0.0


def human(seconds: float) -> str:
    """`2d 3h 4m`, `4m 5s`: the two or three largest units."""
    days, rest = divmod(int(seconds), 86_400)
    hours, rest = divmod(rest, 3600)
    minutes, left = divmod(rest, 60)
    if days:
        return f"{days}d {hours}h {minutes}m"
    if hours:
        return f"{hours}h {minutes}m {left}s"
    return f"{minutes}m {left}s" if minutes else f"{left}s"
