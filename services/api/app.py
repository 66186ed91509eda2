"""The api's wiring: parts, routes, application, and the life of the process (`Service` of runtime/process.py). No
decisions here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from fastapi import FastAPI, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from redis.asyncio import Redis
from starlette.exceptions import HTTPException
from starlette.requests import Request

from services.api.access import RULES, AccessRouter
from services.api.audit import Audit
from services.api.control import control_router, snapshot_parts
from services.api.db import Database
from services.api.edge import Edge
from services.api.idempotency import Idempotency
from services.api.links import LoginLinks, link_router
from services.api.load import LoadMeter
from services.api.logins import LoginGuard
from services.api.metrics import ApiMetrics
from services.api.notices import Notices, Relay
from services.api.parts import make_cache, make_external, make_fleet
from services.api.passwords import PasswordPool
from services.api.probes import Probes, Store
from services.api.routes import (
    admin_breakers,
    admin_cache,
    admin_explain,
    admin_limits,
    admin_metrics,
    admin_tiers,
    auth,
    external,
    health,
    keys,
    lb_status,
    public,
    resources,
)
from services.api.server import Server
from services.api.services import Services
from services.api.sessions import Sessions
from services.api.strict import JSON_LIMIT, StrictRoute
from services.api.tracing import RequestSpans, TracedRedis, called
from services.runtime.control_routes import QUIET
from services.runtime.process import Runtime
from services.runtime.redis import connect
from services.runtime.settings import ApiSettings
from services.schema.snapshot import Snapshot

ROUTERS: Final[tuple[AccessRouter, ...]] = (
    health.router,
    public.router,
    auth.router,
    resources.router,
    external.router,
    keys.router,
    keys.admin_router,
    admin_metrics.router,
    admin_limits.router,
    admin_tiers.router,
    admin_explain.router,
    admin_cache.router,
    admin_breakers.router,
    lb_status.router,
)


class UnguardedRouteError(Exception):
    """A route has no access rule: the process does not start."""


def build(services: Services, routers: Iterable[AccessRouter] = ROUTERS) -> FastAPI:
    """The application. Raises UnguardedRouteError."""
    app = FastAPI(
        title="scalable-api",
        version=services.settings.app_version,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
        telemetry=QUIET,
    )
    app.state.services = services
    for router in routers:
        add_routes(app, router)
    check_guarded(app)
    for kind in (HTTPException, RequestValidationError):
        app.add_exception_handler(kind, _pass_on)
    app.add_middleware(Edge, services=services, api=app)
    return app


def add_routes(app: FastAPI, router: AccessRouter) -> None:
    """Flat, so that one list holds every route: 405's Allow, the guard and the document read it."""
    for route in router.declared:
        extra: dict[str, object] = {"x-access": route.access.name}
        if not route.csrf:
            extra["x-csrf"] = False
        if route.body_limit != JSON_LIMIT:
            extra["x-body-limit"] = route.body_limit
        app.router.add_api_route(
            route.path,
            route.endpoint,
            methods=[route.method],
            route_class_override=StrictRoute,
            openapi_extra=extra,
            **route.options,
        )


def check_guarded(app: FastAPI) -> None:
    for route in app.router.routes:
        rule = (route.openapi_extra or {}).get("x-access") if isinstance(route, APIRoute) else None
        if not isinstance(route, StrictRoute) or rule not in RULES:
            raise UnguardedRouteError(f"{getattr(route, 'path', route)} declares no access rule")


async def _pass_on(_request: Request, error: Exception) -> Response:
    raise error  # to edge.py, the one place where exceptions become answers


class ApiService:
    """Made by process.py's `run` inside the loop; nothing is opened before `start`."""

    def __init__(self, runtime: Runtime[ApiSettings]) -> None:
        settings = runtime.settings
        self._runtime = runtime
        spans = RequestSpans(runtime.tracing) if runtime.tracing else None
        redis = connect(settings.redis_url, client=TracedRedis if spans else Redis)
        metrics = ApiMetrics(runtime.metrics)
        db = Database(settings, metrics, called if spans else None)
        notices = Notices(redis)
        cache = make_cache(settings, redis, runtime)
        links = LoginLinks(redis)
        self.services = Services(
            settings=settings,
            runtime=runtime,
            metrics=metrics,
            load=LoadMeter(runtime.cpu),
            db=db,
            redis=redis,
            notices=notices,
            sessions=Sessions(redis, notices, life_s=settings.session_ttl, idle_s=settings.session_idle_ttl),
            passwords=PasswordPool(metrics.argon2_seconds),
            logins=LoginGuard(redis),
            links=links,
            idempotency=Idempotency(db, metrics, settings.problem_base_uri),
            audit=Audit(settings.instance_id, metrics),
            cache=cache,
            external=make_external(settings, redis, cache, runtime),
            fleet=make_fleet(settings),
            probes=Probes((Store("database", db.probe), Store("redis", redis.ping)), runtime.metrics),
            spans=spans,
        )
        self._relay = Relay(settings.database_url, notices)
        runtime.metrics.gauge("db_pool", "Connections to Postgres", db.pool_state, ("state",))
        runtime.routers += [control_router(cache, self.services.external), link_router(links)]
        self.app = build(self.services)
        self._server = Server(self.app)

    async def start(self) -> int:
        services = self.services
        await services.db.open()
        await services.cache.start()
        await services.external.start()
        await services.fleet.start()
        services.probes.start()
        self._relay.start()
        return self._server.listen(services.settings.host, services.settings.port)

    def drain(self, on: bool) -> None:
        """edge.py reads the runtime's drain state with each answer."""

    async def close(self, within_s: float) -> None:
        services = self.services
        await self._server.finish(within_s)
        await self._relay.stop()
        await services.probes.close()
        await services.cache.close()
        await services.fleet.close()
        await services.external.close()
        services.passwords.close()
        await services.db.close()
        await services.redis.aclose()

    def checks(self) -> Mapping[str, bool]:
        return {"schema": self.services.db.schema_current}

    def snapshot(self) -> Snapshot:
        services = self.services
        degraded = tuple({"database": "postgres"}.get(name, name) for name, up in services.probes.up.items() if not up)
        return self._runtime.snapshot(
            ready=all(self._runtime.readiness(self).values()),
            in_flight=services.load.in_flight,
            degraded=degraded,
            **snapshot_parts(services.cache, services.external),
        )
