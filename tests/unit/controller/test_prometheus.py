"""Metrics of type Prometheus: what is a number, when it is asked for, how long it counts, which servers may be named."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from services.controller.prometheus import PrometheusServers, only_number
from services.schema.scalable_api import ScalableApiSpec
from tests.unit.controller.scene import Stage, spec


class Scripted:
    """`Numbers` that a test sets."""

    servers = frozenset({"default"})

    def __init__(self, value: float | None) -> None:
        self.value, self.asked = value, 0

    async def number(self, server: str, query: str) -> float | None:
        assert (server, query) == ("default", "orders")
        self.asked += 1
        return self.value


def asking(**members: Any) -> ScalableApiSpec:
    query = {"query": "orders", "interval": "5s", **members}
    return spec(api={"metrics": [{"name": "orders", "type": "Prometheus", "target": 10, "prometheus": query}]})


def staged(numbers: Scripted, **members: Any) -> Stage:
    stage = Stage()
    stage.numbers = numbers
    stage.restart()
    stage.change(spec=asking(**members))
    return stage


async def test_one_fetch_per_interval_scales_the_component():
    """Every five seconds; the total is shared by the replicas."""
    numbers = Scripted(60.0)
    stage = staged(numbers)
    await stage.seconds(10)
    assert numbers.asked == 2
    assert stage.count("api") == 6


async def test_an_answer_counts_for_three_intervals_then_nothing_is_lowered():
    """A server that falls silent: the metric is missing, the count stays."""
    numbers = Scripted(60.0)
    stage = staged(numbers)
    await stage.seconds(10)
    numbers.value = None
    await stage.seconds(11)
    assert stage.condition("ScalingActive").status == "True"
    await stage.seconds(10)
    assert stage.condition("ScalingActive").reason == "MetricsUnavailable"
    assert stage.count("api") == 6


async def test_a_ratio_is_not_shared_out():
    """Kind Ratio: twice the target asks for twice the replicas."""
    stage = staged(Scripted(20.0), kind="Ratio")
    await stage.seconds(1)
    assert stage.count("api") == 4


async def test_a_server_nobody_set_is_refused():
    """Accepted=False/Invalid; the name, and those there are."""
    stage = staged(Scripted(1.0), server="other")
    await stage.seconds(1)
    assert stage.condition("Accepted").reason == "Invalid"
    assert "prometheus.server: 'other' is not in PROMETHEUS_SERVERS; there are default" in (
        stage.condition("Accepted").message
    )


@pytest.mark.parametrize(
    ("kind", "result", "value"),
    [
        ("scalar", [1, "1.5"], 1.5),
        ("vector", [{"metric": {}, "value": [1, "7"]}], 7.0),
        ("vector", [], None),
        ("vector", [{"value": [1, "7"]}, {"value": [1, "8"]}], None),
        ("vector", [{"value": [1, "NaN"]}], None),
        ("vector", [{"value": [1, "+Inf"]}], None),
        ("vector", [{"value": [1, "-1"]}], None),
        ("matrix", [{"values": [[1, "7"]]}], None),
        ("string", [1, "x"], None),
    ],
)
def test_what_is_a_number(kind, result, value):
    """One finite number that is not negative, or nothing."""
    assert only_number({"status": "success", "data": {"resultType": kind, "result": result}}) == value


@pytest.mark.parametrize("body", [None, [], {}, {"status": "error"}, {"data": None}])
def test_what_is_no_answer(body):
    """Anything else is missing, never a fault of the tick."""
    assert only_number(body) is None


async def test_over_http():
    """An instant query with the text as written; errors, nonsense and silence are missing."""
    seen: list[str] = []
    answers = [
        (b"200 OK", b'{"status":"success","data":{"resultType":"scalar","result":[1,"42"]}}'),
        (b"503 Service Unavailable", b"{}"),
        (b"200 OK", b"<html>"),
    ]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append((await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode())
        status, body = answers.pop(0)
        writer.write(b"HTTP/1.1 %b\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    numbers = PrometheusServers({"default": f"http://127.0.0.1:{port}/prom/"})
    found = [await numbers.number("default", 'sum(rate(a{b="c"}[1m]))') for _ in range(3)]
    server.close()
    await server.wait_closed()
    found.append(await numbers.number("default", "x"))
    await numbers.close()
    assert found == [42.0, None, None, None]
    assert urlsplit(seen[0]).path == "/prom/api/v1/query"
    assert parse_qs(urlsplit(seen[0]).query) == {"query": ['sum(rate(a{b="c"}[1m]))']}
