"""The balancer put together: settings → fleet, pipeline, server, discovery, probes, and the loops that keep time.

`python -m services.balancer` runs it; runtime/process.py calls the methods of `Balancer`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from time import monotonic
from typing import Final

from services.balancer import metrics, pipeline, status
from services.balancer.control import control_router
from services.balancer.fleet import Fleet
from services.balancer.probing import Prober
from services.balancer.series import Seconds
from services.balancer.stages.measure import Measure
from services.balancer.stages.route import Own, Route
from services.core.balancing import REFRESH_S
from services.core.breaker import BreakerConfig
from services.core.outlier import INTERVAL_S
from services.core.verdicts import Answer, Refusal
from services.http1.heads import BALANCER_NAMES
from services.http1.limits import Deadlines, Limits, connections_max
from services.http1.listener import HttpServer
from services.http1.pool import Pool
from services.http1.problems import ProblemWriter
from services.http1.spans import Spans
from services.runtime.descriptors import raised
from services.runtime.discovery import Discovery
from services.runtime.endpoints import EndpointInfo
from services.runtime.process import Runtime
from services.runtime.settings import BalancerSettings
from services.runtime.tasks import spawn, stop
from services.schema.snapshot import Snapshot
from services.schema.tiers import TiersDocument

NO_METRICS: Final = Refusal("not-found", "metrics-closed", facts={"path": "/metrics"})


class Balancer:
    def __init__(self, rt: Runtime[BalancerSettings]) -> None:
        settings = rt.settings
        instance = settings.instance_id.encode()
        rt.traffic.durations = rt.metrics.histogram("http_request_duration_seconds", "Head in to answer out").series()
        seconds = Seconds(rt.metrics.histogram("upstream_seconds", "Times to an endpoint's head", ("endpoint",)))
        self._rt = rt
        self._limits = Limits(body_max=settings.max_body_bytes, max_connections=connections_max(raised()))
        self._deadlines = Deadlines(
            connect_s=settings.upstream_connect_timeout_ms / 1000, total_s=settings.upstream_timeout_ms / 1000
        )
        self._fleet = Fleet(settings.lb_policy, self._pool, seconds, rt.events)
        self._measure = Measure(rt.traffic)
        self._health = status.Health(self._fleet, settings.app_version, settings.instance_id)
        spans = Spans(rt.tracing, "balancer") if rt.tracing else None
        path, retry = pipeline.build(self._fleet, self._measure, Route(self._own()), instance, spans)
        self._server = HttpServer(
            path,
            self._limits,
            self._deadlines,
            ProblemWriter("balancer", settings.instance_id),
            b"balancer-" + instance,
            names=BALANCER_NAMES,
            strict_targets=True,
        )
        self._prober = Prober(self._fleet, settings.health_interval, settings.health_timeout_ms / 1000)
        self._discovery = Discovery(settings.api_servers, self._fleet.sync)
        self._fleet.on_joined, self._fleet.on_left = self._prober.watch, self._prober.forget
        self._beat: asyncio.Task[None] | None = None
        metrics.register(rt.metrics, self._fleet, seconds, self._measure, retry)
        rt.routers.append(control_router(self._fleet))
        if rt.tiers is not None:
            rt.tiers.on_change.append(self._adopt)
            self._adopt(rt.tiers.document)

    async def start(self) -> int:
        await self._discovery.start()
        self._beat = spawn(self._keep_time(), name="balancer beat")
        return await self._server.start(self._rt.settings.host, self._rt.settings.lb_port)

    def drain(self, on: bool) -> None:
        self._server.drain(on)

    async def close(self, within_s: float) -> None:
        await self._server.close(within_s)
        await self._discovery.stop()
        await self._prober.stop()
        await stop(self._beat)
        for endpoint in self._fleet.endpoints.values():
            endpoint.pool.close()

    def checks(self) -> Mapping[str, bool]:
        return {"backends": self._fleet.healthy > 0}

    def snapshot(self) -> Snapshot:
        ready = all(self._rt.readiness(self).values())
        degraded = ("endpoints",) if self._fleet.panic or not self._fleet.healthy else ()
        return self._rt.snapshot(
            ready=ready, in_flight=self._measure.in_flight, degraded=degraded, **status.snapshot_parts(self._fleet)
        )

    def _own(self) -> dict[bytes, Own]:
        return {
            b"/health": self._health.health,
            b"/ready": self._ready,
            b"/health/ready": self._ready,
            b"/health/live": self._health.live,
            b"/metrics": self._metrics,
        }

    def _ready(self) -> Answer:
        return self._health.ready(self._rt.readiness(self))

    def _metrics(self) -> Answer | Refusal:
        if self._rt.settings.public_ops != "open":
            return NO_METRICS
        body, kind = self._rt.metrics.render("")
        return Answer(200, (b"Content-Type: " + kind.encode() + b"\r\n",), body)

    def _pool(self, info: EndpointInfo, on_connect: Callable[[bool], None]) -> Pool:
        return Pool(info.host, info.port, self._limits, self._deadlines, on_connect=on_connect)

    def _adopt(self, document: TiersDocument) -> None:
        """The document's `breaker`; the built-in document's takes CIRCUIT_*."""
        policy = document.spec.breaker
        config = BreakerConfig(
            failure_threshold=policy.failure_threshold,
            open_s=policy.open_seconds,
            half_open_successes=policy.half_open_successes,
            half_open_concurrency=policy.half_open_concurrency,
            window_s=policy.window_seconds,
            minimum_calls=policy.minimum_calls,
            failure_ratio=policy.failure_ratio,
            slow_call_s=policy.slow_call_seconds,
            slow_call_ratio=policy.slow_call_ratio,
            max_open_s=policy.max_open_seconds,
        )
        if document.revision == 0:
            threshold, open_ms = self._rt.settings.circuit_failure_threshold, self._rt.settings.circuit_reset_timeout
            config = replace(config, failure_threshold=threshold, open_s=open_ms / 1000)
        self._fleet.configure(config, policy.max_ejected_percent)

    async def _keep_time(self) -> None:
        """Loads ten times a second, rates each second, outliers each ten."""
        second = outliers = monotonic()
        while True:
            await asyncio.sleep(REFRESH_S)
            now = monotonic()
            self._fleet.tick(now)
            if now - second >= 1.0:
                self._fleet.second(now, now - second)
                second = now
            if now - outliers >= INTERVAL_S:
                outliers = now
                self._fleet.eject_outliers(now)
