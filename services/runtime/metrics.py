"""Metrics of one process: plain numbers on the hot path, Prometheus text only when somebody scrapes.

A `Counter` or `Histogram` family hands out one mutable cell per label set; the hot path keeps the cell
(`route.series`) and does `cell.n += 1` or `cell.observe(seconds)`: no look-up, no lock, no prometheus-client call.
The families are collectors: they read the cells at scrape. Gauges are functions asked at scrape. A process keeps at
most SERIES_MAX time series (a histogram's buckets counted): past that a label set shares the family's overflow cell,
whose labels say `other`, so no client can grow a process by inventing names.
"""

from __future__ import annotations

import platform
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_BOUNDS: Final = (*(str(bound) for bound in BUCKETS), "+Inf")
SERIES_MAX: Final = 5000
OTHER: Final = "other"

Values = float | Mapping[tuple[str, ...], float]


class Cell:
    """A counter's number."""

    __slots__ = ("n",)

    def __init__(self) -> None:
        self.n: float = 0


class Series:
    """A histogram's numbers: per bucket (not cumulated), and their sum in seconds."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.total += seconds

    def merged(self, other: Series) -> Series:
        both = Series()
        both.counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]
        both.total = self.total + other.total
        return both


class _Budget:
    """How many time series the process may still open."""

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self, count: int) -> bool:
        if self.left < count:
            return False
        self.left -= count
        return True


class Counter(Collector):
    """A family of counters; names end in `_total`."""

    def __init__(self, name: str, text: str, labels: tuple[str, ...], budget: _Budget) -> None:
        self.name, self.text, self.labels = name, text, labels
        self._budget = budget
        self._cells: dict[tuple[str, ...], Cell] = {}
        if not labels:
            self.cell()

    def cell(self, *values: str) -> Cell:
        """The cell of these label values; fetch it once and keep it."""
        if (cell := self._cells.get(values)) is None:
            key = values if self._budget.take(1) else (OTHER,) * len(self.labels)
            cell = self._cells.setdefault(key, Cell())
        return cell

    def inc(self, *values: str) -> None:
        self.cell(*values).n += 1

    def drop(self, label: str, value: str) -> None:
        """Forget a label's value (an endpoint that is gone)."""
        at = self.labels.index(label)
        for key in [key for key in self._cells if key[at] == value]:
            del self._cells[key]
            self._budget.left += 1

    def items(self) -> list[tuple[tuple[str, ...], float]]:
        return [(key, cell.n) for key, cell in self._cells.items()]

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(self.name, self.text, labels=self.labels)
        for key, cell in list(self._cells.items()):
            family.add_metric(key, cell.n)
        yield family


class Histogram(Collector):
    """A family of duration histograms with the contract's buckets; names end in `_seconds`."""

    _SAMPLES: Final = len(BUCKETS) + 3

    def __init__(self, name: str, text: str, labels: tuple[str, ...], budget: _Budget) -> None:
        self.name, self.text, self.labels = name, text, labels
        self._budget = budget
        self._series: dict[tuple[str, ...], Series] = {}
        if not labels:
            self.series()

    def series(self, *values: str) -> Series:
        if (series := self._series.get(values)) is None:
            key = values if self._budget.take(self._SAMPLES) else (OTHER,) * len(self.labels)
            series = self._series.setdefault(key, Series())
        return series

    def drop(self, label: str, value: str) -> None:
        at = self.labels.index(label)
        for key in [key for key in self._series if key[at] == value]:
            del self._series[key]
            self._budget.left += self._SAMPLES

    def items(self) -> list[tuple[tuple[str, ...], Series]]:
        return list(self._series.items())

    def collect(self) -> Iterator[Metric]:
        family = HistogramMetricFamily(self.name, self.text, labels=self.labels)
        for key, series in list(self._series.items()):
            running, buckets = 0, []
            for bound, count in zip(_BOUNDS, series.counts, strict=True):
                running += count
                buckets.append((bound, float(running)))
            family.add_metric(key, buckets, series.total)
        yield family


class Gauge(Collector):
    """A function's value at scrape: a number, or numbers by label values."""

    def __init__(self, name: str, text: str, labels: tuple[str, ...], read: Callable[[], Values]) -> None:
        self.name, self.text, self.labels, self._read = name, text, labels, read

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(self.name, self.text, labels=self.labels)
        values = self._read()
        for key, value in [((), values)] if isinstance(values, int | float) else list(values.items()):
            family.add_metric(key, value)
        yield family


class Metrics:
    """A process's registry. `prefix` is the process name: `gateway`, `balancer`, `api`."""

    def __init__(self, prefix: str, version: str) -> None:
        self.prefix = prefix
        self.registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._budget = _Budget(SERIES_MAX - 100)  # the process's own and the gauges'
        self._up: dict[tuple[str, ...], float] = {}
        build: Values = {(version, platform.python_version()): 1.0}
        self.gauge("build_info", "Version of the project and of Python", lambda: build, ("version", "python"))
        self.loop_lag = self.histogram("loop_lag_seconds", "How late the event loop's timer ran").series()
        self._seconds = self.histogram("dependency_seconds", "Duration of calls to a store", ("dependency",))
        self.gauge("dependency_up", "Whether the last call to a store succeeded", lambda: self._up, ("dependency",))

    def counter(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
        family = Counter(f"{self.prefix}_{name}", text, labels, self._budget)
        self.registry.register(family)
        return family

    def histogram(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Histogram:
        family = Histogram(f"{self.prefix}_{name}", text, labels, self._budget)
        self.registry.register(family)
        return family

    def gauge(self, name: str, text: str, read: Callable[[], Values], labels: tuple[str, ...] = ()) -> None:
        self.registry.register(Gauge(f"{self.prefix}_{name}", text, labels, read))

    def counting(self, name: str, text: str, read: Callable[[], Values], labels: tuple[str, ...] = ()) -> None:
        """A counter somebody else keeps (the engine's plain attributes), read at scrape."""
        self.registry.register(_ReadCounter(f"{self.prefix}_{name}", text, labels, read))

    def dependency(self, name: str, *, up: bool, seconds: float | None = None) -> None:
        """Note how a store answered: `<p>_dependency_up`, and `<p>_dependency_seconds` for calls that were timed."""
        self._up[(name,)] = float(up)
        if seconds is not None:
            self._seconds.series(name).observe(seconds)

    def dependencies(self) -> dict[str, bool]:
        return {name: bool(up) for (name,), up in self._up.items()}

    def render(self, accept: str) -> tuple[bytes, str]:
        """Body and content type: OpenMetrics if asked for, else Prometheus text."""
        if "application/openmetrics-text" in accept:
            text = openmetrics.generate_latest(self.registry)  # type: ignore[no-untyped-call]
            return bytes(text), openmetrics.CONTENT_TYPE_LATEST
        return generate_latest(self.registry), CONTENT_TYPE_LATEST


class _ReadCounter(Gauge):
    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(self.name, self.text, labels=self.labels)
        values = self._read()
        for key, value in [((), values)] if isinstance(values, int | float) else list(values.items()):
            family.add_metric(key, value)
        yield family


def quantile(series: Series, q: float) -> float:
    """Seconds below which a share `q` of the observations lies, interpolated in its bucket; 0 without any."""
    total = sum(series.counts)
    rank, seen = q * total, 0
    for at, count in enumerate(series.counts):
        if count and seen + count >= rank:
            low = BUCKETS[at - 1] if at else 0.0
            high = BUCKETS[at] if at < len(BUCKETS) else BUCKETS[-1]
            return low + (high - low) * (rank - seen) / count
        seen += count
    return 0.0
