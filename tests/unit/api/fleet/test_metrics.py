from __future__ import annotations

from services.api.fleet.exposition import Figures, read
from services.api.fleet.metrics import baseline, human, merge, quantile, tables
from services.runtime.metrics import BUCKETS, Metrics


def life(*requests: tuple[str, str, int, float]) -> Figures:
    """What a real process would tell after these requests: method, route, status, seconds."""
    metrics = Metrics("api", "1")
    counter = metrics.counter("http_requests_total", "n", ("method", "route", "status"))
    histogram = metrics.histogram("http_request_duration_seconds", "s", ("method", "route"))
    for method, route, status, seconds in requests:
        counter.inc(method, route, str(status))
        histogram.series(method, route).observe(seconds)
    return read(metrics.render("")[0].decode(), "api")


def test_reading_our_own_text() -> None:
    """Counts by method, route and status; buckets as they were filled; the life's start; foreign families are not
    looked at.
    """
    figures = life(("GET", "/a/{id}", 200, 0.003), ("GET", "/a/{id}", 500, 20.0), ("POST", "/a/{id}", 201, 0.3))
    assert figures.requests[("GET", "/a/{id}", "200")] == 1
    counts = figures.durations[("GET", "/a/{id}")].counts
    assert (sum(counts), counts[-1], len(counts)) == (2, 1, len(BUCKETS) + 1)
    assert float(figures.started) > 0
    assert read("gateway_http_requests_total{x} 1", "api").requests == {}


def test_merged_and_reset() -> None:
    """Sums over lives; what a life showed at the reset is taken off, a new life counts from zero, a gone one is gone."""
    one = life(("GET", "/a", 200, 0.01), ("GET", "/a", 404, 0.01))
    two = life(("GET", "/a", 200, 0.7), ("POST", "/a", 500, 0.7))
    both = tables(merge({"1": one, "2": two}, None))
    assert both["requests"]["GET /a"] == {"total": 3, "byStatus": {"200": 2, "404": 1}}
    assert both["errors"] == {"POST /a": 1}
    assert both["durations"]["GET /a"]["count"] == 3
    assert [row["endpoint"] for row in both["slowEndpoints"]] == ["POST /a", "GET /a"]
    kept = baseline({"1": one, "2": two})
    assert tables(merge({"1": one, "2": two}, kept))["requests"] == {}
    restarted = tables(merge({"1": one, "2 new": two}, kept))
    assert restarted["requests"] == {
        "GET /a": {"total": 1, "byStatus": {"200": 1}},
        "POST /a": {"total": 1, "byStatus": {"500": 1}},
    }


def test_quantile() -> None:
    """Interpolated in its bucket; nothing: 0; beyond the last bound: that bound."""
    assert quantile([0.0] * 15, 0.5) == 0
    counts = [0.0] * 15
    counts[4] = 10.0
    assert 0.005 < quantile(counts, 0.5) == 0.0075 <= 0.01
    counts = [0.0] * 14 + [3.0]
    assert quantile(counts, 0.99) == 10.0


def test_human() -> None:
    """The largest units."""
    assert [human(s) for s in (5, 65, 3_661, 93_784)] == ["5s", "1m 5s", "1h 1m 1s", "1d 2h 3m"]
