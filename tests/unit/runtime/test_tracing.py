from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Sequence

import pytest

from services.runtime.metrics import Metrics
from services.runtime.settings import BalancerSettings, load
from services.runtime.tracing import BATCH, RING, Span, Tracing, limit_of, sender

TOKEN = {"CONTROL_TOKEN": "control-token-of-32-characters--"}
SOON_S = 5.0


def span(number: int) -> Span:
    return Span("x", f"{number:032x}", f"{number:016x}", "", 0.0, 1.0)


class Way:
    """A way out that takes what it is given once `open` is set; `works` is its answer."""

    def __init__(self, *, works: bool = True) -> None:
        self.sent: list[Span] = []
        self.works = works
        self.open = threading.Event()
        self.asked = threading.Event()

    def __call__(self, spans: Sequence[Span]) -> bool:
        self.asked.set()
        assert self.open.wait(SOON_S)
        self.sent += spans
        return self.works


def outcomes(metrics: Metrics) -> dict[str, float]:
    text = metrics.render("")[0].decode()
    lines = [line for line in text.splitlines() if line.startswith("gateway_spans_total{")]
    return {line.split('"')[1]: float(line.rpartition(" ")[2]) for line in lines}


def test_a_ratio_is_a_bound_on_the_ids_last_half():
    """0 none, 1 all, a quarter those whose last half begins with 0 to 3."""
    low, high = b"0" * 16, b"f" * 16
    assert not low < limit_of(0)
    assert low < limit_of(1)
    assert high < limit_of(1)
    assert b"3" + high[1:] < limit_of(0.25) <= b"4" + low[1:]


def test_spans_leave_in_order_and_in_batches():
    """Closing sends the rest; each is counted."""
    metrics, way = Metrics("gateway", "1"), Way()
    tracing = Tracing(way, metrics, every_s=60)
    spans = [span(number) for number in range(1, BATCH + 2)]
    for one in spans:
        tracing.add(one)
    way.open.set()
    tracing.close(SOON_S)
    assert way.sent == spans
    assert outcomes(metrics) == {"exported": BATCH + 1, "overrun": 0, "lost": 0}


def test_a_collector_that_does_not_take_them_costs_the_oldest_spans_and_no_time():
    """While a batch is stuck the ring keeps the newest; what fell out is counted, and adding never waits."""
    metrics, way = Metrics("gateway", "1"), Way()
    tracing = Tracing(way, metrics, every_s=0.001)
    tracing.add(span(1))
    assert way.asked.wait(SOON_S)
    for number in range(2, RING + 12):
        tracing.add(span(number))
    assert outcomes(metrics)["overrun"] == 10
    way.open.set()
    tracing.close(SOON_S)
    assert way.sent == [span(1), *map(span, range(12, RING + 12))]


def test_lost_spans_are_counted():
    """A way out that fails loses its batch, and goes on."""
    metrics, way = Metrics("gateway", "1"), Way(works=False)
    way.open.set()
    tracing = Tracing(way, metrics, every_s=60)
    tracing.add(span(1))
    tracing.close(SOON_S)
    assert outcomes(metrics) == {"exported": 0, "overrun": 0, "lost": 1}


def test_closing_does_not_wait_for_a_collector_that_hangs():
    """The process ends in its time."""
    way = Way()
    tracing = Tracing(way, Metrics("gateway", "1"), every_s=60)
    tracing.add(span(1))
    tracing.close(0.05)
    assert way.asked.wait(SOON_S)
    assert way.sent == []
    way.open.set()


def test_no_endpoint_no_way_out():
    """And with one there is."""
    assert sender(load(BalancerSettings, TOKEN)) is None
    assert callable(sender(load(BalancerSettings, {**TOKEN, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"})))


@pytest.mark.parametrize("process", ["gateway", "balancer", "api"])
def test_the_exporter_is_not_imported_unless_it_is_used(process):
    """Memory and start-up time are paid by those who export. (fastapi and redis-py look for OpenTelemetry by themselves.)"""
    names = ("services.runtime.otlp", "opentelemetry.exporter", "opentelemetry.sdk.trace", "google.protobuf")
    line = f"import sys, services.{process}.app; print([m for m in {names} if m in sys.modules])"
    said = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
