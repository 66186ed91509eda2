"""Probes: what they report, how often they run, and that a failure asks for one at once."""

from __future__ import annotations

import asyncio
import json

import pytest

from services.balancer import probing
from services.balancer.endpoints import DRAINING, HEALTHY, STARTING
from services.balancer.probing import Prober, says_draining
from services.http1.probe import Probe
from tests.harness.wait import eventually
from tests.unit.balancer.fakes import Bench


class Ready:
    """A scripted `/ready`."""

    def __init__(self) -> None:
        self.answer = Probe(status=200)
        self.asked: list[tuple[str, int, bytes, float]] = []

    async def __call__(self, host: str, port: int, path: bytes, timeout_s: float) -> Probe:
        self.asked.append((host, port, path, timeout_s))
        return self.answer


def prober(bench: Bench, ready: Ready, interval_s: float = 5.0) -> Prober:
    return Prober(bench.fleet, interval_s, 2.0, ready)


async def test_a_probe_is_reported() -> None:
    """200 is good, all else is bad with its reason; the time of the look is kept."""
    bench, ready = Bench(2), Ready()
    endpoint, look = bench.endpoint("api-1"), prober(bench, ready)
    endpoint.state = STARTING
    await look.look(endpoint)
    assert endpoint.state == HEALTHY
    assert endpoint.last_check > 0
    assert ready.asked == [("127.0.0.1", 4001, b"/ready", 2.0)]
    ready.answer = Probe(status=500)
    await look.look(endpoint)
    assert (endpoint.last_error, endpoint.probe_fails) == ("/ready answered 500", 1)
    ready.answer = Probe(failure="timeout")
    await look.look(endpoint)
    assert endpoint.last_error == "timeout"


async def test_a_draining_api_gets_nothing_new() -> None:
    """A 503 that says so drains the endpoint at the first look; any other 503 is one failed probe."""
    bench, ready = Bench(2), Ready()
    endpoint, look = bench.endpoint("api-1"), prober(bench, ready)
    ready.answer = Probe(status=503, body=b'{"status":"not ready","checks":{"schema":false,"serving":true}}')
    await look.look(endpoint)
    assert (endpoint.state, endpoint.probe_fails) == (HEALTHY, 1)
    ready.answer = Probe(status=503, body=b'{"status":"not ready","checks":{"serving":false}}')
    await look.look(endpoint)
    assert endpoint.state == DRAINING


@pytest.mark.parametrize(
    ("body", "draining"),
    [
        (b'{"status":"draining"}', True),
        (b'{"checks":{"serving":false}}', True),
        (b'{"checks":{"serving":true}}', False),
        (b'{"checks":[]}', False),
        (b"[]", False),
        (b"nonsense", False),
        (b"[" * 100_000, False),
        (json.dumps({"status": "not ready"}).encode(), False),
    ],
)
def test_says_draining(body: bytes, draining: bool) -> None:
    """Only a plain statement counts; junk is no drain."""
    assert says_draining(body) is draining


async def test_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Probed at once, then each interval; a wake-up brings the next one forward; forgotten ones are left alone."""
    monkeypatch.setattr(probing, "GAP_S", 0.0)
    bench, ready = Bench(1), Ready()
    endpoint, loops = bench.endpoint("api-1"), prober(bench, ready, 60.0)
    loops.watch(endpoint)
    await eventually(lambda: len(ready.asked) == 1, 1, "the first probe")
    await asyncio.sleep(0)
    endpoint.wake.set()
    await eventually(lambda: len(ready.asked) == 2, 1, "the probe that was asked for")
    loops.forget(endpoint)
    loops.forget(endpoint)
    endpoint.wake.set()
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(ready.asked) == 2
    await loops.stop()


async def test_periods() -> None:
    """Healthy: the interval ± 20 %; otherwise half a second, or the interval if it is shorter."""
    bench = Bench(1)
    endpoint = bench.endpoint("api-1")
    long, short = prober(bench, Ready(), 5.0), prober(bench, Ready(), 0.2)
    drawn = [long._period_s(endpoint) for _ in range(200)]
    assert 4.0 <= min(drawn) < 4.5 < 5.5 < max(drawn) <= 6.0
    endpoint.state = DRAINING
    assert long._period_s(endpoint) == 0.5
    assert short._period_s(endpoint) == 0.2


async def test_stop_ends_all_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    """After `stop` nobody is probed any more."""
    monkeypatch.setattr(probing, "GAP_S", 0.0)
    bench, ready = Bench(2), Ready()
    loops = prober(bench, ready, 0.001)
    for endpoint in bench.all:
        loops.watch(endpoint)
    await eventually(lambda: len(ready.asked) > 6, 1, "some probes")
    await loops.stop()
    count = len(ready.asked)
    await asyncio.sleep(0.01)
    assert len(ready.asked) == count
