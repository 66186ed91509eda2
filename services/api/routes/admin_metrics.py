"""`~/admin/dashboard`, `…/metrics`, `…/metrics/reset`, `…/metrics/current` (contract.md 1.6): the fleet's figures,
the same from any api.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends

from services.api.access import ADMIN, VIEWER, AccessRouter, Caller, caller
from services.api.deeds import recorded
from services.api.fleet import breakers, cache, summary
from services.api.fleet.collection import Fleet, View
from services.api.fleet.exposition import Figures, read
from services.api.fleet.metrics import BASELINE_KEY, baseline, human, merge, tables
from services.api.models import AnswerModel, Message, Time
from services.api.routes.admin_breakers import BreakerRow
from services.api.routes.admin_cache import CacheAnswer
from services.api.services import Deps, Services
from services.runtime.http_client import ControlClient

router = AccessRouter(tags=("Admin: metrics",))
Who = Annotated[Caller, Depends(caller)]


class Uptime(AnswerModel):
    """Of the process that has run longest."""

    seconds: float
    human: str


class Memory(AnswerModel):
    """Bytes of all processes together."""

    rss: int


class RequestRow(AnswerModel):
    total: int
    by_status: dict[str, int]


class DurationRow(AnswerModel):
    """Milliseconds."""

    count: int
    avg: float
    p50: float
    p90: float
    p99: float


class SlowRow(AnswerModel):
    endpoint: str
    p90: float
    count: int


class MetricsAnswer(AnswerModel):
    """Keyed `METHOD route`, since the last reset. `errors` counts answers of 500 and above; slow: p90 above 500 ms."""

    timestamp: Time
    as_of: Time
    partial: bool
    uptime: Uptime
    memory: Memory
    requests: dict[str, RequestRow]
    errors: dict[str, int]
    durations: dict[str, DurationRow]
    slow_endpoints: list[SlowRow]


class ComponentRow(AnswerModel):
    """Latencies in ms, of the last second."""

    processes: int
    ready: int
    rps: float
    error_rate: float
    p50: float
    p95: float
    p99: float
    in_flight: int


class FleetSummary(AnswerModel):
    components: dict[str, ComponentRow]
    missing: list[str]


class Dashboard(AnswerModel):
    instance_id: str
    as_of: Time
    partial: bool
    metrics: MetricsAnswer
    circuit_breakers: dict[str, BreakerRow]
    cache: CacheAnswer
    fleet: FleetSummary


class CurrentRequests(AnswerModel):
    """Over the last second."""

    per_second: float
    error_rate: float


class CurrentLatency(AnswerModel):
    p50: float
    p95: float
    p99: float


class CurrentCache(AnswerModel):
    hit_rate: float
    l1_hits: int
    l2_hits: int
    misses: int


class CurrentServer(AnswerModel):
    """An api: `latency` is its p95 in ms, `load` its share of a core in %."""

    id: str
    status: str
    latency: float
    load: float


class Current(AnswerModel):
    as_of: Time
    partial: bool
    requests: CurrentRequests
    latency: CurrentLatency
    cache: CurrentCache
    servers: list[CurrentServer]


@router.get("/api/v1/admin/dashboard", access=VIEWER, response_model=Dashboard, summary="Everything at a glance")
async def dashboard(services: Deps) -> Dashboard:
    figures = await _metrics(services)
    rows, lost = await breakers.listed(services.fleet)
    cached, _ = await cache.described(services.fleet)
    view = await services.fleet.look()
    as_of = _time(view.as_of)
    return Dashboard(
        instance_id=services.settings.instance_id,
        as_of=as_of,
        partial=figures.partial or lost,
        metrics=figures,
        circuit_breakers={name: BreakerRow.model_validate(row) for name, row in rows.items()},
        cache=CacheAnswer.model_validate({**cached, "asOf": as_of, "partial": view.partial}),
        fleet=FleetSummary.model_validate({"components": summary.components(view), "missing": view.missing}),
    )


@router.get(
    "/api/v1/admin/metrics", access=VIEWER, response_model=MetricsAnswer, summary="Requests since the last reset"
)
async def metrics(services: Deps) -> MetricsAnswer:
    return await _metrics(services)


@router.post("/api/v1/admin/metrics/reset", access=ADMIN, response_model=Message, summary="Count from here on")
async def reset(services: Deps, who: Who) -> Message:
    await recorded(services, who, "admin.action", ("metrics", "*"))
    lives, _ = await scrape(services.fleet)
    await services.redis.set(BASELINE_KEY, baseline(lives))
    return Message(message="Metrics reset")


@router.get("/api/v1/admin/metrics/current", access=VIEWER, response_model=Current, summary="The last second")
async def current(services: Deps) -> Current:
    view = await services.fleet.look()
    edge = summary.row(view.snapshots("gateway") or view.snapshots("api"))
    states = [s.cache for s in view.snapshots("api") if s.cache is not None]
    l1, l2, misses = (sum(getattr(s, name) for s in states) for name in ("l1_hits", "l2_hits", "misses"))
    asked = l1 + l2 + misses
    return Current(
        as_of=_time(view.as_of),
        partial=view.partial,
        requests=CurrentRequests(per_second=edge["rps"], error_rate=edge["errorRate"]),
        latency=CurrentLatency(p50=edge["p50"], p95=edge["p95"], p99=edge["p99"]),
        cache=CurrentCache(hit_rate=round((l1 + l2) / asked, 4) if asked else 0, l1_hits=l1, l2_hits=l2, misses=misses),
        servers=_servers(view),
    )


async def scrape(fleet: Fleet) -> tuple[dict[str, Figures], bool]:
    """The figures of each process that serves clients, by its life; and whether one did not answer."""
    view = await fleet.look()
    component = "gateway" if any(p.component == "gateway" for p in view.processes) else "api"

    async def text(control: ControlClient) -> str:
        return await control.metrics()

    answers = await fleet.ask(text, component)
    lives: dict[str, Figures] = {}
    for answer in answers:
        if answer.value is not None:
            figures = read(answer.value, component)
            lives[f"{answer.process.id} {figures.started}"] = figures
    return lives, len(lives) < len(answers)


async def _metrics(services: Services) -> MetricsAnswer:
    lives, lost = await scrape(services.fleet)
    view = await services.fleet.look()
    kept = await services.redis.get(BASELINE_KEY)
    found: Mapping[str, Any] = tables(merge(lives, kept if isinstance(kept, bytes) else None))
    started = [datetime.fromisoformat(s.started_at).timestamp() for s in view.snapshots()]
    seconds = max(0.0, view.as_of - min(started, default=view.as_of))
    return MetricsAnswer.model_validate(
        {
            "timestamp": datetime.now(UTC),
            "asOf": _time(view.as_of),
            "partial": view.partial or lost,
            "uptime": {"seconds": round(seconds, 3), "human": human(seconds)},
            "memory": {"rss": sum(s.rss_bytes for s in view.snapshots())},
            **found,
        }
    )


def _servers(view: View) -> list[CurrentServer]:
    return [
        CurrentServer(
            id=p.instance or p.id,
            status="missing" if p.snapshot is None else "healthy" if p.snapshot.ready else "unhealthy",
            latency=p.snapshot.latency.p95 if p.snapshot else 0,
            load=round(p.snapshot.cpu, 1) if p.snapshot else 0,
        )
        for p in view.processes
        if p.component == "api"
    ]


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
