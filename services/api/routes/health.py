"""Health on the data port (contract.md 1.10): answered from memory, never from a store, so that an outage of one
takes no api away.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated, Final, Literal

from fastapi import Header, Response

from services.api.access import ANY, AccessRouter
from services.api.errors import Problem
from services.api.models import AnswerModel, Time
from services.api.services import Deps, Services

SERVICE: Final = "api-server"
router = AccessRouter(tags=("Health",))


class Dependencies(AnswerModel):
    database: bool
    redis: bool


class Health(AnswerModel):
    """`uptime` in seconds; `load` 0…100."""

    status: Literal["healthy", "degraded"]
    service: str
    version: str
    timestamp: Time
    uptime: float
    instance_id: str
    load: int
    dependencies: Dependencies


class Ready(AnswerModel):
    """`redis` is told, not asked for: its outage makes nobody unready."""

    status: Literal["ready", "not ready"]
    checks: dict[str, bool]
    redis: bool
    instance_id: str


class Alive(AnswerModel):
    status: Literal["alive"]


@router.get("/health", access=ANY, response_model=Health, summary="How this process is; never 503")
async def health(services: Deps) -> Health:
    settings, up = services.settings, services.probes.up
    return Health(
        status="degraded" if services.probes.degraded else "healthy",
        service=SERVICE,
        version=settings.app_version,
        timestamp=datetime.now(UTC),
        uptime=round(time.time() - services.runtime.started_at, 3),
        instance_id=settings.instance_id,
        load=services.load.percent,
        dependencies=Dependencies(database=up.get("database", False), redis=up.get("redis", False)),
    )


@router.get(
    "/ready", access=ANY, response_model=Ready, summary="May requests be sent here?", responses={503: {"model": Ready}}
)
async def ready(services: Deps) -> Response:
    return _ready(services)


@router.get("/health/ready", access=ANY, response_model=Ready, summary="The same", responses={503: {"model": Ready}})
async def health_ready(services: Deps) -> Response:
    return _ready(services)


@router.get("/health/live", access=ANY, response_model=Alive, summary="Does the process answer?")
async def live() -> Alive:
    return Alive(status="alive")


@router.get(
    "/metrics",
    access=ANY,
    summary="Prometheus text; 404 unless PUBLIC_OPS=open",
    responses={
        200: {"description": "Prometheus text", "content": {"text/plain": {"schema": {"type": "string"}}}},
        404: {},
    },
)
async def public_metrics(services: Deps, accept: Annotated[str, Header(include_in_schema=False)] = "") -> Response:
    if services.settings.public_ops != "open":
        raise Problem("not-found")
    body, kind = services.runtime.metrics.render(accept)
    return Response(body, headers={"Content-Type": kind})


def _ready(services: Services) -> Response:
    runtime = services.runtime
    checks = {
        "started": runtime.started,
        "serving": not runtime.drain.draining,
        "loop": runtime.watchdog.calm(),
        "schema": services.db.schema_current,
    }
    ok = all(checks.values())
    answer = Ready(
        status="ready" if ok else "not ready",
        checks=checks,
        redis=services.probes.up.get("redis", False),
        instance_id=services.settings.instance_id,
    )
    return Response(answer.model_dump_json(by_alias=True), 200 if ok else 503, media_type="application/json")
