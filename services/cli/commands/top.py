"""`scalable-api top`: who does what right now, read from every process each second."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Sequence
from typing import Any

from services.cli import fleet
from services.cli import instance as instances
from services.cli.errors import DONE, UNREACHABLE, USAGE, CliError
from services.cli.fleet import Process
from services.cli.instance import Instance
from services.cli.options import By
from services.cli.output import Format, coloured, emit, humane_bytes, say, table
from services.schema.snapshot import Snapshot

PERIOD_S = 1.0
HOME = "\x1b[H\x1b[J"
HEADS = [
    "PROCESS",
    "STATE",
    "RPS",
    "P50 MS",
    "P95 MS",
    "P99 MS",
    "IN FLIGHT",
    "429/S",
    "5XX %",
    "LAG MS",
    "CPU %",
    "RSS",
]


def run(form: Format, *, by: By, once: bool) -> int:
    if form is Format.name:
        raise CliError("", "-o name of top", "its rows are live; table, json or yaml", exit_code=USAGE)
    instance = instances.current()
    try:
        return asyncio.run(_watch(instance, form, by, once=once))
    except KeyboardInterrupt:
        return DONE


async def _watch(instance: Instance, form: Format, by: By, *, once: bool) -> int:
    processes = await fleet.snapshots(instance)
    while True:
        _show(processes, form, by)
        if once:
            return DONE if any(p.snapshot for p in processes) else UNREACHABLE
        await asyncio.sleep(PERIOD_S)
        if not instances.alive(instance.pid):
            return DONE
        processes = await fleet.snapshots(instance)


def _show(processes: Sequence[Process], form: Format, by: By) -> None:
    if form in (Format.json, Format.yaml):
        emit(form, "TopReport", {"processes": [member(p) for p in processes]})
        return
    rows = component_rows(processes) if by is By.component else [row(p) for p in processes]
    lines = table(HEADS, rows)
    if coloured():
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.write(HOME)
    say(*lines)


def row(process: Process) -> list[object]:
    s = process.snapshot
    if s is None:
        return [process.id, "no answer", *["-"] * (len(HEADS) - 2)]
    numbers = [f"{s.rps:.1f}", *(f"{ms:.1f}" for ms in (s.latency.p50, s.latency.p95, s.latency.p99)), s.in_flight]
    rest = [f"{denied(s):.1f}", f"{100 * s.error_rate:.1f}", f"{s.loop_lag_ms:.1f}", f"{s.cpu:.0f}"]
    return [process.id, state(s), *numbers, *rest, humane_bytes(s.rss_bytes)]


def state(snapshot: Snapshot) -> str:
    """One word, and what is degraded."""
    word = "draining" if snapshot.draining else "ready" if snapshot.ready else "not ready"
    return f"{word} ({', '.join(snapshot.degraded)})" if snapshot.degraded else word


def denied(snapshot: Snapshot) -> float:
    return snapshot.limiter.denied_rps if snapshot.limiter else 0.0


def component_rows(processes: Sequence[Process]) -> list[list[object]]:
    """Sums; for latencies and lag the worst process, since quantiles do not add up."""
    rows: list[list[object]] = []
    for component in dict.fromkeys(p.component for p in processes):
        of = [p for p in processes if p.component == component]
        found = [p.snapshot for p in of if p.snapshot]
        if not found:
            rows.append([component, "no answer", *["-"] * (len(HEADS) - 2)])
            continue
        worst = [max(getattr(s.latency, q) for s in found) for q in ("p50", "p95", "p99")]
        total = sum(s.rps for s in found)
        errors = 100 * sum(s.error_rate * s.rps for s in found) / total if total else 0.0
        cells: list[object] = [component, f"{sum(s.ready for s in found)}/{len(of)} ready", f"{total:.1f}"]
        cells += [*(f"{ms:.1f}" for ms in worst), sum(s.in_flight for s in found), f"{sum(map(denied, found)):.1f}"]
        cells += [f"{errors:.1f}", f"{max(s.loop_lag_ms for s in found):.1f}", f"{sum(s.cpu for s in found):.0f}"]
        rows.append([*cells, humane_bytes(sum(s.rss_bytes for s in found))])
    return rows


def member(process: Process) -> dict[str, Any]:
    """Seconds and bytes, as every JSON of ours."""
    s = process.snapshot
    base = {"id": process.id, "component": process.component}
    if s is None:
        return {**base, "error": process.error}
    latency = {f"{q}Seconds": getattr(s.latency, q) / 1000 for q in ("p50", "p95", "p99")}
    more = {"inFlight": s.in_flight, "limitedRps": denied(s), "errorRate": s.error_rate}
    vitals = {"loopLagSeconds": s.loop_lag_ms / 1000, "cpuPercent": s.cpu, "rssBytes": s.rss_bytes}
    flags = {"ready": s.ready, "draining": s.draining, "degraded": list(s.degraded)}
    return {**base, **flags, "rps": s.rps, **latency, **more, **vitals}
