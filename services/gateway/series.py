"""The gateway's metrics (contract.md section 8), made once; stages keep their cells, gauges ask at scrape."""

from __future__ import annotations

from collections.abc import Mapping

from services.gateway.limiter import Limiter
from services.gateway.stages.measure import Measure
from services.http1.listener import HttpServer
from services.runtime.metrics import Counter, Histogram, Metrics


class GatewaySeries:
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        labels = ("method", "route", "status")
        self.requests: Counter = metrics.counter("http_requests_total", "Requests by how they ended", labels)
        self.durations: Histogram = metrics.histogram(
            "http_request_duration_seconds", "From the request's head to the end of its answer", ("method", "route")
        )
        self.refusals = metrics.counter("refusals_total", "Requests refused here", ("stage", "reason"))
        self.auth = metrics.counter("auth_total", "Credentials by outcome", ("via", "result"))
        self.key_cache = metrics.counter("key_cache_total", "Look-ups of API keys in the cache", ("result",))
        self.limit_seconds = metrics.histogram("limit_seconds", "How long the limiter waited for its store").series()

    def watch(self, measure: Measure, limiter: Limiter) -> None:
        """Numbers that others keep."""
        gauge, counting = self._metrics.gauge, self._metrics.counting
        gauge("in_flight", "Requests under way", lambda: float(measure.in_flight))
        gauge("limiter_degraded", "1 while limits are enforced from local state", lambda: float(limiter.degraded))
        counting("request_bytes_total", "Body bytes from clients", lambda: float(measure.bytes_in))
        counting("response_bytes_total", "Bytes to clients", lambda: float(measure.bytes_out))
        labels = ("tier", "policy", "decision")
        counting("limit_decisions_total", "Decisions of the limiter", lambda: _decisions(limiter), labels)
        counting("unknown_tier_total", "Callers whose tier the document lacks", lambda: float(limiter.unknown_tiers))

    def watch_server(self, server: HttpServer) -> None:
        gauge, counting = self._metrics.gauge, self._metrics.counting
        gauge("connections", "Client connections", lambda: _connections(server), ("state",))
        counting(
            "refused_connections_total",
            "Connections for which there was no room",
            lambda: float(server.refused_connections),
        )
        counting("bad_requests_total", "Malformed requests", lambda: _reasons(server), ("reason",))
        counting("client_aborts_total", "Clients gone before their answer", lambda: float(server.client_aborts))


def _decisions(limiter: Limiter) -> Mapping[tuple[str, ...], float]:
    return {(tier, policy, decision): float(count) for tier, policy, decision, count in limiter.counts.rows()}


def _connections(server: HttpServer) -> Mapping[tuple[str, ...], float]:
    return {(state,): float(count) for state, count in server.connection_states().items()}


def _reasons(server: HttpServer) -> Mapping[tuple[str, ...], float]:
    return {(reason,): float(count) for reason, count in server.bad_requests.items()}
