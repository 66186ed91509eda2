"""Quotas over a fleet of real gateways: exact in a fresh window, and never less than the limit for an eager client."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

from services.schema.tiers import Policy, Tier, TiersSpec
from tests.harness.fleet import Fleet
from tests.harness.http import Connection, request
from tests.harness.load import OpenLoop, Sample
from tests.harness.stores import Database, ValkeyServer
from tests.harness.wait import eventually

PATH = "/api/v1/info"
CLIENTS, ROUNDS, LIMIT, OVER = 64, 10, 1000, 1280
PATIENT = {"gateway": {"LIMITER_TIMEOUT_MS": "1000"}}
"""On a crowded machine a reply may take longer than 20 ms; such a decision is local, and these tests count exactly."""


def spec(quota: int, window: int) -> TiersSpec:
    """One tier with one policy: what a caller gets is that and nothing else."""
    policies = (Policy(name="free", quota=quota, window=window),)
    return TiersSpec(
        tiers=(Tier(name="free", criticality="critical", policies=policies),),
        anonymous_tier="free",
        default_tier="free",
        routes=(),
    )


async def client(url: str, key: str, requests: int) -> Counter[int]:
    """One client: its requests one after the other over one connection."""
    port = int(url.rpartition(":")[2])
    connection = await Connection.open("127.0.0.1", port)
    data, found = request("GET", PATH, {"x-api-key": key}), Counter[int]()
    try:
        for _ in range(requests):
            found[(await connection.send(data)).status] += 1
    finally:
        connection.close()
    return found


async def test_exactly_the_limit_over_four_gateways(database: Database, valkey: ValkeyServer) -> None:
    """64 clients over 4 gateways on one key with limit 1000: exactly 1000 admitted in a fresh window, ten times out of
    ten; every other request is a 429. Of the admitted, a balancer in front of two cold apis may turn some away (503).
    """
    async with Fleet(database, valkey, gateways=4, apis=2, tiers=spec(LIMIT, 3600), env=PATIENT) as fleet:
        admitted, turned_away = [], 0
        for _ in range(ROUNDS):
            key = (await fleet.keys())["free"]
            each = (client(fleet.urls[i % 4], key, OVER // CLIENTS) for i in range(CLIENTS))
            total = sum(await asyncio.gather(*each), Counter[int]())
            assert set(total) <= {200, 429, 503}, total
            admitted.append(total[200] + total[503])
            turned_away += total[503]
        print(f"admitted of {OVER} at limit {LIMIT}, ten fresh keys: {admitted}; of them turned away: {turned_away}")
        assert admitted == [LIMIT] * ROUNDS


async def test_an_eager_client_gets_its_full_limit(database: Database, valkey: ValkeyServer) -> None:
    """A client at 3 x its limit for three windows is admitted its limit in each: refusals cost it nothing. The sliding
    estimate stays at or below the limit, so from the second window on the last unit comes free only with its end.
    """
    quota, window, rate = 120, 4, 90
    async with Fleet(database, valkey, gateways=2, apis=1, tiers=spec(quota, window), env=PATIENT) as fleet:
        key = (await fleet.keys())["free"]
        # The windows are aligned to the wall clock (Valkey's TIME, the same machine's).
        await eventually(lambda: time.time() % window < 0.05, window + 1, "a window begins", 0.005)
        begun = time.time() % window
        report = await OpenLoop(fleet.urls, rate, 3 * window - begun, PATH, headers={"x-api-key": key}).run()
        assert set(report.statuses) == {200, 429}, str(report)
        admitted = Counter(_window(sample, begun, window) for sample in report.ok)
        degraded = sum("ratelimit-degraded" in sample.headers for sample in report.samples)
        print(
            f"admitted per window of {window} s at 3 x limit {quota}: {dict(sorted(admitted.items()))}; {degraded} degraded"
        )
        assert admitted[0] == quota
        assert all(quota - 3 <= admitted[i] <= quota for i in (1, 2))


def _window(sample: Sample, begun: float, window: int) -> int:
    """In which window it was answered, counted from the first."""
    return int((begun + sample.due_s + sample.latency_s) // window)
