from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from services.runtime.metrics import BUCKETS, SERIES_MAX, Metrics, Series, quantile


@pytest.fixture
def metrics():
    return Metrics("gateway", "1.2.3")


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = metrics.render("")[0].decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_standard_series(metrics):
    """Every process has build info, loop lag, process and gc series, with HELP and TYPE."""
    text = metrics.render("")[0].decode()
    for name in ("gateway_build_info", "gateway_loop_lag_seconds_bucket", "process_cpu_seconds_total", "python_gc_"):
        assert name in text
    assert "# HELP gateway_build_info " in text
    assert "# TYPE gateway_loop_lag_seconds histogram" in text


def test_a_counter_is_a_cell(metrics):
    """The hot path raises a plain number; the scrape reads it."""
    counter = metrics.counter("auth_total", "Credentials", ("via", "result"))
    cell = counter.cell("key", "ok")
    cell.n += 3
    counter.inc("key", "bad")
    found = samples(metrics)
    assert found["gateway_auth_total", (("result", "ok"), ("via", "key"))] == 3
    assert found["gateway_auth_total", (("result", "bad"), ("via", "key"))] == 1


def test_histogram_buckets_are_cumulated_at_scrape(metrics):
    """An observation lies in the first bucket that holds it, borders included; sum and count agree."""
    series = metrics.histogram("limit_seconds", "Limiter").series()
    for value in (0.0005, 0.0006, 0.03, 99.0):
        series.observe(value)
    found = samples(metrics)
    assert found["gateway_limit_seconds_bucket", (("le", "0.0005"),)] == 1
    assert found["gateway_limit_seconds_bucket", (("le", "0.001"),)] == 2
    assert found["gateway_limit_seconds_bucket", (("le", "0.05"),)] == 3
    assert found["gateway_limit_seconds_bucket", (("le", "+Inf"),)] == 4
    assert found["gateway_limit_seconds_count", ()] == 4
    assert found["gateway_limit_seconds_sum", ()] == pytest.approx(99.0311)


def test_old_fault_13a_names_do_not_add_series_without_end(metrics):
    """10 000 different label values leave at most SERIES_MAX series; what did not fit is counted as `other`."""
    counter = metrics.counter("http_requests_total", "Requests", ("route",))
    durations = metrics.histogram("http_request_duration_seconds", "Durations", ("route",))
    for number in range(10_000):
        counter.cell(f"/{number}").n += 1
        durations.series(f"/{number}").observe(0.1)
    found = samples(metrics)
    assert len(found) <= SERIES_MAX
    assert found["gateway_http_requests_total", (("route", "other"),)] > 0
    assert sum(value for (name, _), value in found.items() if name == "gateway_http_requests_total") == 10_000


def test_dropped_labels_make_room(metrics):
    """An endpoint that is gone takes its series along."""
    counter = metrics.counter("attempts_total", "Attempts", ("endpoint",))
    durations = metrics.histogram("upstream_seconds", "Upstream", ("endpoint",))
    counter.inc("api-1")
    durations.series("api-1").observe(1)
    counter.drop("endpoint", "api-1")
    durations.drop("endpoint", "api-1")
    assert counter.items() == []
    assert durations.items() == []


def test_gauges_are_asked_at_scrape(metrics):
    """A gauge is a function, with labels or without; a kept counter likewise."""
    metrics.gauge("in_flight", "In flight", lambda: 7.0)
    metrics.gauge("connections", "Connections", lambda: {("idle",): 2.0}, ("state",))
    metrics.counting("client_aborts_total", "Aborts", lambda: 5.0)
    metrics.dependency("redis", up=True, seconds=0.002)
    found = samples(metrics)
    assert found["gateway_in_flight", ()] == 7
    assert found["gateway_connections", (("state", "idle"),)] == 2
    assert found["gateway_client_aborts_total", ()] == 5
    assert found["gateway_dependency_up", (("dependency", "redis"),)] == 1
    assert metrics.dependencies() == {"redis": True}


def test_openmetrics_on_accept(metrics):
    """OpenMetrics if the scraper asks for it."""
    body, kind = metrics.render("application/openmetrics-text; version=1.0.0")
    assert body.endswith(b"# EOF\n")
    assert "openmetrics" in kind


def test_quantiles_interpolate():
    """The median of ten observations in one bucket lies in its middle; none give 0; the last bucket its border."""
    series = Series()
    assert quantile(series, 0.5) == 0.0
    for _ in range(10):
        series.observe(0.02)
    assert quantile(series, 0.5) == pytest.approx(0.0175)
    series.observe(100.0)
    assert quantile(series, 1.0) == BUCKETS[-1]


def test_series_add_up():
    """Two series merge into one."""
    one, two = Series(), Series()
    one.observe(0.1)
    two.observe(0.2)
    assert sum(one.merged(two).counts) == 2
    assert one.merged(two).total == pytest.approx(0.3)
