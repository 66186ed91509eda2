"""Processes and stores that die under load: whatever is killed or told to end, no idempotent request fails for it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest

from services.schema.tiers import Policy, Tier, TiersSpec
from tests.harness import stores
from tests.harness.fleet import Fleet, Node
from tests.harness.http import client
from tests.harness.load import OpenLoop
from tests.harness.stores import Database, PostgresServer, ValkeyServer
from tests.harness.wait import eventually

RATE = 300
PATHS = ("/api/v1/info", "/api/v1/resources/1", "/api/v1/status")
DRAIN_DELAY_S, DRAIN_S, SLACK_S = 1, 5, 5
DRAIN = {"DRAIN_DELAY_SECONDS": str(DRAIN_DELAY_S), "DRAIN_SECONDS": str(DRAIN_S)}


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A Postgres of this test alone, to stop."""
    with stores.postgres_server() as server:
        stores.run(server.template())
        yield server


def gets(number: int) -> str:
    """One path of the fleet's own, one of Postgres and the cache, one of everything."""
    return PATHS[number % len(PATHS)]


@contextlib.asynccontextmanager
async def under_load(load: OpenLoop) -> AsyncIterator[OpenLoop]:
    """Within it the load runs; at the end it is over, and nothing failed or was left unsent."""
    running = asyncio.ensure_future(load.run())
    try:
        await eventually(lambda: len(load.report.samples) > load.rate / 2, 10, "the load runs")
        yield load
        await more(load, load.rate)
    finally:
        load.stop()
        report = await running
    print(f"{report} p99 {report.quantile(0.99):.4f}")
    assert report.failed == [], str(report)
    assert report.unsent == 0


async def more(load: OpenLoop, requests: float) -> None:
    """Until that many more were answered."""
    wanted = len(load.report.samples) + requests
    await eventually(lambda: len(load.report.samples) >= wanted, 20, f"{requests} more answers")


async def test_killed_processes_fail_no_request(database: Database, valkey: ValkeyServer) -> None:
    """300 GETs a second: SIGKILL of one api of three, then of one balancer of two, without a word to the others: each
    request is answered 200.
    """
    async with Fleet(database, valkey, balancers=2, apis=3) as fleet:
        headers = {"x-api-key": (await fleet.keys())["enterprise"]}
        load = OpenLoop(fleet.url, RATE, 60, gets, headers=headers)
        async with under_load(load):
            await fleet.kill(fleet.api_nodes[0], publish=False)
            await more(load, 1.5 * RATE)
            await fleet.kill(fleet.balancer_nodes[0], publish=False)
            await more(load, 0.5 * RATE)
        assert set(load.report.statuses) == {200}


async def test_old_fault_10f(database: Database, valkey: ValkeyServer) -> None:
    """An api, then a balancer are killed under POSTs without Idempotency-Key: what was answered 201 is there once,
    what failed at most once; GETs beside them fail never.
    """
    async with Fleet(database, valkey, balancers=2, apis=3) as fleet:
        headers = {"x-api-key": (await fleet.keys())["enterprise"]}
        typed = headers | {"content-type": "application/json"}
        posts = OpenLoop(fleet.url, 60, 60, "/api/v1/resources", "POST", typed, named)
        sending = asyncio.ensure_future(posts.run())
        async with under_load(OpenLoop(fleet.url, RATE - 60, 60, gets, headers=headers)) as load:
            await fleet.kill(fleet.api_nodes[0], publish=False)
            await more(load, RATE)
            await fleet.kill(fleet.balancer_nodes[0], publish=False)
            await more(load, RATE)
            posts.stop()
            report = await sending
        made = await rows(database)
        print(f"POSTs: {report}; rows {len(made)}")
        assert set(made.values()) == {1}
        assert {f"once-{sample.number}" for sample in report.ok} <= set(made)
        assert len(report.ok) >= 0.75 * len(report.samples)


def named(number: int) -> bytes:
    return b'{"name":"once-%d","type":"note"}' % number


async def rows(database: Database) -> Counter[str]:
    """How often each name was created."""
    connection = await asyncpg.connect(database.owner)
    try:
        found = await connection.fetch("SELECT name FROM resources WHERE name LIKE 'once-%'")
    finally:
        await connection.close()
    return Counter(str(row["name"]) for row in found)


async def test_old_fault_15d(database: Database, valkey: ValkeyServer) -> None:
    """300 GETs a second over two gateways; SIGTERM of every process in turn (each is replaced first): no request is
    cut, and each ends with code 0 within DRAIN_DELAY_SECONDS + DRAIN_SECONDS + 5.
    """
    env = dict.fromkeys(("api", "balancer", "gateway"), DRAIN)
    async with Fleet(database, valkey, gateways=2, balancers=2, apis=2, env=env) as fleet:
        headers = {"x-api-key": (await fleet.keys())["enterprise"]}
        urls = fleet.urls
        took: dict[str, float] = {}
        async with under_load(OpenLoop(urls, RATE, 120, gets, headers=headers)) as load:
            for node in (*fleet.api_nodes, *fleet.balancer_nodes, *fleet.gateway_nodes):
                await fleet.start(node.component)
                took[node.id] = await told_to_end(fleet, node, urls)
        print({name: round(seconds, 2) for name, seconds in took.items()})
        assert max(took.values()) <= DRAIN_DELAY_S + DRAIN_S + SLACK_S
        assert set(load.report.statuses) == {200}


async def told_to_end(fleet: Fleet, node: Node, urls: list[str]) -> float:
    """SIGTERM, exit code 0, seconds. Clients stop using a gateway once its readiness is red, as who balances over
    gateways would; the others find out by themselves.
    """
    began = time.monotonic()
    ended = asyncio.ensure_future(fleet.term(node))
    if node.component == "gateway":

        async def red() -> bool:
            async with fleet.control(node) as control:
                return not await control.ready()

        await eventually(red, DRAIN_DELAY_S, f"{node.id} is not ready any more")
        urls[:] = [other.url for other in fleet.gateway_nodes if other is not node]
    assert await ended == 0
    return time.monotonic() - began


def eager(quota: int) -> TiersSpec:
    """Free callers have a quota that load reaches; enterprise ones none."""
    free = Tier(name="free", criticality="critical", policies=(Policy(name="free", quota=quota, window=3600),))
    rich = Policy(name="enterprise", quota=1_000_000, window=60)
    return TiersSpec(
        tiers=(free, Tier(name="enterprise", criticality="critical-plus", policies=(rich,))),
        anonymous_tier="free",
        default_tier="free",
        routes=(),
    )


async def test_valkey_killed_under_load(database: Database, own_valkey: ValkeyServer) -> None:
    """Valkey is killed at 300 requests a second: none fails, those of a limited key are admitted its limit at least and
    1.25 x it at most, and answers say RateLimit-Degraded: ?1; Valkey is back: the word is gone within a second.
    """
    quota = 600
    async with Fleet(database, own_valkey, gateways=2, balancers=1, apis=2, tiers=eager(quota)) as fleet:
        keys = await fleet.keys()
        rich, free = {"x-api-key": keys["enterprise"]}, {"x-api-key": keys["free"]}
        limited = OpenLoop(fleet.urls, RATE / 2, 60, PATHS[0], headers=free)
        async with under_load(limited), under_load(OpenLoop(fleet.urls, RATE / 2, 60, gets, headers=rich)) as load:
            own_valkey.kill()
            killed = len(load.report.samples)
            await more(load, 3 * RATE)
            away = [sample for sample in load.report.samples[killed:] if "ratelimit-degraded" in sample.headers]
            await own_valkey.start()
            seconds = await in_sync(fleet, rich)
        admitted = len(limited.report.ok)
        late = sorted(sample.latency_s for sample in away)[int(0.99 * len(away))]
        print(f"{len(away)} degraded, p99 {late:.4f} s; admitted {admitted} of {quota}; in sync after {seconds:.2f} s")
        assert {sample.headers["ratelimit-degraded"] for sample in away} == {"?1"}
        assert quota <= admitted <= 1.25 * quota
        assert set(limited.report.statuses) == {200, 429}
        assert set(load.report.statuses) == {200}


async def in_sync(fleet: Fleet, headers: dict[str, str]) -> float:
    """Seconds until no gateway decides alone."""
    began = time.monotonic()
    for node in fleet.gateway_nodes:
        async with fleet.client(node=node, headers=headers) as http:

            async def exact() -> bool:
                return "ratelimit-degraded" not in (await http.get(PATHS[0])).headers

            await eventually(exact, 5, f"{node.id} counts in Valkey again")
    return time.monotonic() - began


async def test_old_fault_11(own_postgres: PostgresServer, own_valkey: ValkeyServer) -> None:
    """Valkey and Postgres are gone: every process is alive and ready on data and control port, no endpoint is ejected,
    and what needs no store is answered.
    """
    database = own_postgres.dsns(stores.TEMPLATE)
    async with Fleet(database, own_valkey, balancers=2, apis=3) as fleet:
        headers = {"x-api-key": (await fleet.keys())["enterprise"]}
        nodes = (*fleet.api_nodes, *fleet.balancer_nodes, *fleet.gateway_nodes)
        async with under_load(OpenLoop(fleet.url, RATE, 60, PATHS[0], headers=headers)) as load:
            own_postgres.server.process.kill()
            own_valkey.kill()
            seen = [await health(node) for node in nodes]
            await more(load, 3 * RATE)
            seen += [await health(node) for node in nodes]
            states = [state for node in nodes for state in await endpoints(fleet, node)]
        print(f"{Counter(status for found in seen for status in found.values())}, endpoints {Counter(states)}")
        assert [found for found in seen if set(found.values()) != {200}] == []
        assert set(states) == {"healthy"}
        assert set(load.report.statuses) == {200}


async def health(node: Node) -> dict[str, int]:
    """The status of each health route of a process."""
    async with client(node.url) as data, client(node.control_url) as control:
        found = {f"{node.id} {path}": (await data.get(path)).status_code for path in ("/health", "/ready")}
        return found | {f"{node.id} /livez": (await control.get("/livez")).status_code}


async def endpoints(fleet: Fleet, node: Node) -> list[str]:
    """How it sees its endpoints."""
    async with fleet.control(node) as control:
        return [endpoint.state for endpoint in (await control.snapshot()).endpoints]
