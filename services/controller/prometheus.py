"""Metrics of type Prometheus (operator.md §5.2): one fetch per interval, one number, fresh for three intervals.

A manifest names a server; its address is a setting (PROMETHEUS_SERVERS), so that who writes manifests cannot make the
controller ask any address. What is no single finite number ≥ 0 is missing, and missing lowers nothing.
`Numbers` is the seam: tests put a scripted one in its place. Caller: controller.visit, beside the poll.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import httpx

from services.runtime.http_client import client
from services.schema.component import PrometheusQuery
from services.schema.scalable_api import ScalableApiSpec, duration_ms

TIMEOUT_S: Final = 0.7
"""As long as a poll of the pods may take: a slow server must not make the tick late."""
FRESH_INTERVALS: Final = 3
MOST: Final = 1e12
"""Beyond it a number is nonsense for a load, and its text would not fit into a decision's record."""
Name = tuple[str, str]
"""(component, metric)"""


class Numbers(Protocol):
    """Who answers queries."""

    @property
    def servers(self) -> frozenset[str]:
        """The names a manifest may write."""
        ...

    async def number(self, server: str, query: str) -> float | None:
        """The query's only number; None when there is none."""
        ...


class PrometheusServers:
    """`Numbers` over HTTP: instant queries."""

    def __init__(self, urls: Mapping[str, str]) -> None:
        self._urls = {name: url.rstrip("/") for name, url in urls.items()}
        self._http: httpx.AsyncClient = client(timeout_s=TIMEOUT_S)

    @property
    def servers(self) -> frozenset[str]:
        return frozenset(self._urls)

    async def number(self, server: str, query: str) -> float | None:
        try:
            answer = await self._http.get(f"{self._urls[server]}/api/v1/query", params={"query": query})
            return only_number(answer.json()) if answer.status_code == httpx.codes.OK else None
        except (httpx.HTTPError, ValueError):
            return None

    async def close(self) -> None:
        await self._http.aclose()


def only_number(body: Any) -> float | None:
    """The one finite number ≥ 0 of an instant query's answer: a scalar, or a vector of one sample."""
    try:
        data = body["data"]
        samples = [data["result"]] if data["resultType"] == "scalar" else [one["value"] for one in data["result"]]
        (((_, text)),) = samples
        value = float(text)
    except (KeyError, TypeError, ValueError):
        return None
    return value if math.isfinite(value) and 0 <= value <= MOST else None


@dataclass(slots=True)
class Fetch:
    """The last answer to one query."""

    asked: PrometheusQuery
    asked_ms: int
    value: float | None = None
    value_ms: int = 0


@dataclass(slots=True)
class Fetched:
    """What is known of one object's queries."""

    answers: dict[Name, Fetch] = field(default_factory=dict)

    async def refresh(self, now_ms: int, spec: ScalableApiSpec, numbers: Numbers) -> None:
        """Ask what is due, side by side; queries that are gone or changed are forgotten."""
        wanted = queries(spec)
        self.answers = {n: f for n, f in self.answers.items() if wanted.get(n) == f.asked}
        due = [name for name, query in wanted.items() if self._due(now_ms, name, query)]
        for name in due:
            self.answers.setdefault(name, Fetch(wanted[name], now_ms)).asked_ms = now_ms
        found = await asyncio.gather(*(numbers.number(wanted[name].server, wanted[name].query) for name in due))
        for name, value in zip(due, found, strict=True):
            if value is not None:
                self.answers[name].value, self.answers[name].value_ms = value, now_ms

    def _due(self, now_ms: int, name: Name, query: PrometheusQuery) -> bool:
        before = self.answers.get(name)
        return before is None or now_ms - before.asked_ms >= duration_ms(query.interval)

    def values(self, now_ms: int) -> dict[Name, float]:
        """Those that may be believed now."""
        return {
            name: fetch.value
            for name, fetch in self.answers.items()
            if fetch.value is not None
            and now_ms - fetch.value_ms <= FRESH_INTERVALS * duration_ms(fetch.asked.interval)
        }


def queries(spec: ScalableApiSpec) -> dict[Name, PrometheusQuery]:
    """By component and metric."""
    return {(c.name, m.name): m.prometheus for c in spec.components for m in c.metrics if m.prometheus}


def unknown_servers(spec: ScalableApiSpec, known: frozenset[str]) -> list[str]:
    """A sentence for each metric whose server has no address here."""
    names = ", ".join(sorted(known)) or "none"
    return [
        f"spec.components[{i}].metrics[{j}].prometheus.server: {m.prometheus.server!r} is not in PROMETHEUS_SERVERS; "
        f"there are {names}"
        for i, component in enumerate(spec.components)
        for j, m in enumerate(component.metrics)
        if m.prometheus and m.prometheus.server not in known
    ]
