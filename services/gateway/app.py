"""The gateway's wiring: stores, caches, limiter, stages, server; what starts when, and what stops in which order."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from services.core.retry_budget import RetryBudget
from services.gateway import pipeline
from services.gateway.access_log import AccessLog
from services.gateway.answers import ANSWERS, AnswerHead
from services.gateway.balancers import Balancers
from services.gateway.clients import Clients
from services.gateway.control import router
from services.gateway.cors import Cors
from services.gateway.explain import View
from services.gateway.health import GatewayHealth
from services.gateway.invalidations import CHANNEL, Invalidations
from services.gateway.keys import Keys
from services.gateway.limiter import Limiter
from services.gateway.limiter.policies import unenforceable
from services.gateway.overrides import OverrideFeed
from services.gateway.routing import RouteTable, route_of
from services.gateway.series import GatewaySeries
from services.gateway.sessions import Sessions
from services.gateway.stages.authenticate import Authenticate
from services.gateway.stages.forward import Forward
from services.gateway.stages.limit import LimitStage
from services.gateway.stages.measure import Measure
from services.gateway.stages.own import Own
from services.gateway.stages.route import Route
from services.gateway.stages.trace import Trace
from services.gateway.store_breaker import StoreBreaker
from services.gateway.tier_book import TierBook
from services.http1.certificate import Certificate
from services.http1.limits import Deadlines, Limits, connections_max
from services.http1.listener import HttpServer
from services.http1.problems import ProblemWriter
from services.http1.spans import Spans
from services.runtime.descriptors import raised
from services.runtime.discovery import Discovery
from services.runtime.gateway_store import GatewayStore
from services.runtime.limit_script import SCRIPT
from services.runtime.process import Runtime
from services.runtime.redis import Subscription
from services.runtime.redis_batch import RedisBatch
from services.runtime.settings import GatewaySettings
from services.runtime.tracing import limit_of
from services.runtime.vitals import Degraded
from services.schema.snapshot import LimiterState, Snapshot
from services.schema.tiers import TiersDocument

START_WITHIN_S: Final = 1.0  # a store that does not answer does not keep us from serving


class Gateway:
    def __init__(self, rt: Runtime[GatewaySettings]) -> None:
        self._rt = rt
        settings, tiers = rt.settings, rt.tiers
        assert tiers is not None  # noqa: S101  # GatewaySettings has tiers_file
        self._degraded = Degraded(rt.events)
        self.series = GatewaySeries(rt.metrics)
        self.breaker = StoreBreaker(rt.metrics, self.series.limit_seconds)
        self.limits = Limits(body_max=settings.max_body_bytes, max_connections=connections_max(raised()))
        self.deadlines = Deadlines(total_s=settings.request_timeout_ms / 1000)
        self._make_stores(settings, tiers.document)
        self.table = RouteTable(self.series.requests, self.series.durations, settings.max_body_bytes)
        self.book = TierBook()
        self.balancers = Balancers(self.limits, self.deadlines, ANSWERS)
        self._discovery = Discovery(settings.balancers, self.balancers.use)
        self._log = AccessLog(settings.slow_request_ms)
        self._use_tiers(tiers.document)
        tiers.checks.append(unenforceable)
        tiers.on_change.append(self._use_tiers)
        self.server = self._make_server(settings)
        self._denied = (0, 0)
        self._denied_rps = (0.0, 0.0)
        rt.on_roll.append(self._roll)

    async def start(self) -> int:
        settings = self._rt.settings
        self._redis_is(away=not await self._batch.start(START_WITHIN_S))
        await self._overrides.load()
        self._overrides.start()
        self._subscription.start()
        await self._peers.start()
        await self._discovery.start()
        self.balancers.start()
        self._log.start()
        shared = settings.supervisor_fd is not None and settings.gateway_port != 0  # `up`: its gateways share one port
        return await self.server.start(settings.host, settings.gateway_port, reuse_port=shared)

    def drain(self, on: bool) -> None:
        self.server.drain(on)

    async def close(self, within_s: float) -> None:
        await self.server.close(within_s)
        await self._discovery.stop()
        await self._peers.stop()
        await self.balancers.stop()
        await self._subscription.stop()
        await self._overrides.stop()
        self._batch.close()
        await self._store.close()
        await self._log.stop()

    def checks(self) -> Mapping[str, bool]:
        return {"tiers": True, "balancers": bool(self.balancers.endpoints)}

    def snapshot(self) -> Snapshot:
        limiter = self.limiter
        mode = "off" if not self._rt.settings.limiter_enabled else "local" if limiter.degraded else "exact"
        return self._rt.snapshot(
            ready=all(self._rt.readiness(self).values()),
            in_flight=self.measure.in_flight,
            degraded=self._degraded.active(),
            breakers=(self.breaker.snapshot(),),
            endpoints=self.balancers.states(),
            limiter=LimiterState(mode, limiter.degraded, *self._denied_rps),
        )

    def _make_stores(self, settings: GatewaySettings, document: TiersDocument) -> None:
        self._batch = RedisBatch(
            settings.redis_url, timeout_ms=settings.limiter_timeout_ms, scripts=(SCRIPT,), on_state=self._redis_is
        )
        self.breaker.watch(self._batch)
        self._peers = Discovery(settings.gateway_peers, lambda _found: None)
        self.limiter = Limiter(
            self._batch,
            document,
            enabled=settings.limiter_enabled,
            gateways=self._live_gateways,
            observe=self.series.limit_seconds.observe,
            clock=time.monotonic,
        )
        self._store = GatewayStore(settings.database_url, self._postgres_is)
        self.keys = Keys(
            self._store,
            settings.api_key_peppers,
            ttl_s=settings.key_cache_ttl,
            stale_s=settings.key_cache_stale,
            test_keys=settings.demo_mode,
            clock=time.monotonic,
            cache=self.series.key_cache,
        )
        self.sessions = Sessions(self._batch, time.monotonic)
        self._overrides = OverrideFeed(self._store, self.limiter.set_overrides, time.monotonic)
        invalidations = Invalidations(self.keys, self.sessions, self._overrides, self.limiter)
        self._subscription = Subscription(settings.redis_url, (CHANNEL,), invalidations.heard, invalidations.gap)

    def _make_server(self, settings: GatewaySettings) -> HttpServer:
        certificate = certificate_of(settings)
        clients = Clients(settings.trusted_proxies, "https" if certificate else "http")
        cors = Cors(settings.cors_origins)
        name = f"gateway-{settings.instance_id}".encode()
        public = settings.public_ops == "open"
        health = GatewayHealth(
            (settings.app_version, settings.instance_id, self._rt.started_at),
            lambda: self._rt.readiness(self),
            lambda: not self._batch.open,
        )
        self.measure = Measure(self.table, self._rt.traffic, self.series.refusals, self._log, pipeline.stage_of)
        authenticate = Authenticate(
            (self.keys, self.sessions), self.limiter, self.book, self.series.auth, settings.identity_secrets[0]
        )
        tracing = self._rt.tracing
        sample = limit_of(settings.trace_sample) if tracing else b""
        stages = pipeline.Stages(
            trace=Trace(clients, restart=settings.trace_context == "restart", sample=sample),
            route=Route(self.table, health, cors),
            measure=self.measure,
            authenticate=authenticate,
            own=Own(self._rt.metrics, public=public),
            limit=LimitStage(self.limiter),
            forward=Forward(self.balancers, name, RetryBudget(time.monotonic())),
            answer=AnswerHead(settings.instance_id, cors, settings.server_timing),
        )
        view = View(
            self.table,
            self.book,
            self.limiter,
            self.balancers,
            self._store,
            authenticate.anonymous,
            public,
            settings.instance_id,
        )
        self._rt.routers.append(router(view, self.balancers, self.breaker))
        problems = ProblemWriter("gateway", settings.instance_id)
        spans = Spans(tracing, "gateway", route_of) if tracing else None
        server = HttpServer(
            pipeline.build(stages, spans),
            self.limits,
            self.deadlines,
            problems,
            name,
            certificate=certificate,
            trusts=clients.trusts,
            proxy_protocol=settings.proxy_protocol,
        )
        self.series.watch(self.measure, self.limiter)
        self.series.watch_server(server)
        return server

    def _use_tiers(self, document: TiersDocument) -> None:
        self.table.use(document)
        self.book.use(document)
        self.limiter.configure(document)

    def _live_gateways(self) -> int:
        """Those that leave take nothing new, so they need no share of a limit."""
        return max(1, sum(not peer.draining for peer in self._peers.current))

    def _redis_is(self, away: bool) -> None:
        self.breaker.moved(is_open=away)
        self._rt.metrics.dependency("redis", up=not away)
        self._degraded.note("redis", bad=away)

    def _postgres_is(self, up: bool, seconds: float | None) -> None:
        self._rt.metrics.dependency("postgres", up=up, seconds=seconds)
        self._degraded.note("postgres", bad=not up)

    def _roll(self, seconds: float) -> None:
        now, before = (self.limiter.denied, self.limiter.shadow_denied), self._denied
        self._denied = now
        self._denied_rps = ((now[0] - before[0]) / seconds, (now[1] - before[1]) / seconds)


def certificate_of(settings: GatewaySettings) -> Certificate | None:
    """Raises SettingsError that names the file's setting."""
    if settings.tls_cert_path is None or settings.tls_key_path is None:
        return None
    return Certificate(settings.tls_cert_path, settings.tls_key_path)
