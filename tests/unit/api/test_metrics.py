from __future__ import annotations

from services.api.metrics import ApiMetrics
from services.runtime.metrics import Metrics


def test_names_are_the_contracts() -> None:
    """contract.md 8's row of the api, but for the cache's and the breakers' own."""
    registry = Metrics("api", "1")
    metrics = ApiMetrics(registry)
    metrics.requests.inc("GET", "/x", "200")
    metrics.db_seconds.series("users.by_id").observe(0.001)
    text = registry.render("")[0].decode()
    for name in (
        "api_http_requests_total",
        "api_http_request_duration_seconds",
        "api_errors_total",
        "api_db_seconds_bucket",
        "api_logins_total",
        "api_argon2_seconds",
        "api_audit_appends_total",
        "api_idempotent_replays_total",
    ):
        assert name in text
    assert 'api_http_requests_total{method="GET",route="/x",status="200"} 1.0' in text
