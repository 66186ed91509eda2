"""The api's own series (contract.md 8). The route label is the template a route was declared with, never the path
asked for.
"""

from __future__ import annotations

from services.runtime.metrics import Metrics


class ApiMetrics:
    """Every family of this process that is not the cache's."""

    def __init__(self, metrics: Metrics) -> None:
        self.requests = metrics.counter("http_requests_total", "Answers", ("method", "route", "status"))
        self.seconds = metrics.histogram("http_request_duration_seconds", "Duration of answers", ("method", "route"))
        self.errors = metrics.counter("errors_total", "Problems answered", ("code",))
        self.db_seconds = metrics.histogram("db_seconds", "Duration of statements", ("query",))
        self.logins = metrics.counter("logins_total", "Attempts to log in", ("result",))
        self.argon2_seconds = metrics.histogram("argon2_seconds", "Duration of a password hash").series()
        self.audit_appends = metrics.counter("audit_appends_total", "Audit rows appended", ("action",))
        self.replays = metrics.counter("idempotent_replays_total", "Stored answers given again").cell()
        self.dependency = metrics.dependency
