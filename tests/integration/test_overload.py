"""More asked than can be done, and nobody there at all (reliability.md P10, F16, F18): what is promised, with bounds
that a busy machine keeps; figures are printed.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from time import monotonic

from tests.harness.fleet import Fleet
from tests.harness.http import client
from tests.harness.load import OpenLoop
from tests.harness.stores import Database, ValkeyServer
from tests.integration.test_balancer import Balancer
from tests.integration.upstreams import Upstream
from tests.load.overload import play


async def test_ten_times_the_capacity(tmp_path: Path) -> None:
    """At ten times what the endpoints can do, with clients that ask again: the same work is done, critical-plus loses
    nothing, who is refused hears it soon, and two seconds after all is as before.
    """
    before, _ramp, over, _calming, after = await play(
        tmp_path, ((0.8, 2.5), (10.0, 1.5), (10.0, 4.0), (0.8, 2.0), (0.8, 2.0))
    )
    assert before.lost == 0
    assert over.goodput >= 0.9 * before.goodput / 0.8, str(over)
    assert over.important_lost == 0, str(over)
    assert over.refused > over.goodput * over.seconds
    assert over.quantile_ms(0.5, 503) <= 60, str(over)
    assert after.lost == 0, str(after)
    assert after.quantile_ms(0.5, 200) <= 2 * before.quantile_ms(0.5, 200) + 20, str(after)


async def test_nobody_is_there_and_then_they_are_back(tmp_path: Path) -> None:
    """All endpoints gone: 503 with Retry-After at once, without waiting for any; back: served within a second or so."""
    async with AsyncExitStack() as stack:
        apis = [await stack.enter_async_context(Upstream(f"api-{number}")) for number in (1, 2, 3)]
        balancer = await stack.enter_async_context(Balancer(tmp_path, apis, {}))
        await balancer.healthy(3)
        http = await stack.enter_async_context(client(balancer.node.url))
        assert (await http.get("/x")).status_code == 200
        for api in apis:
            await api.close()
        times = []
        for _ in range(50):
            begun = monotonic()
            answer = await http.get("/x")
            times.append(1000 * (monotonic() - begun))
            assert answer.status_code in {502, 503}
            if answer.status_code == 503:
                assert int(answer.headers["retry-after"]) >= 1
            await asyncio.sleep(0.01)
        assert answer.status_code == 503
        times.sort()
        for api in apis:
            await api.open()
        begun = monotonic()
        while (await http.get("/x")).status_code != 200:
            await asyncio.sleep(0.01)
            assert monotonic() - begun < 5
        recovery_s = monotonic() - begun
        print(f"503 p50 {times[25]:.1f} p90 {times[45]:.1f} ms, back after {recovery_s:.2f} s")
        assert times[25] <= 20
        assert recovery_s <= 3


async def test_a_gateway_spares_a_tier_without_room(database: Database, valkey: ValkeyServer) -> None:
    """Balancers that turn everything away get a fraction of it; critical-plus always; two seconds after they are well
    all is served. Each request carries its class.
    """
    async with AsyncExitStack() as stack:
        tier = await stack.enter_async_context(Upstream("balancer-1"))
        env = {"gateway": {"BALANCERS": f"http://127.0.0.1:{tier.port}"}}
        fleet = await stack.enter_async_context(Fleet(database, valkey, balancers=0, apis=0, env=env))
        keys = await fleet.keys()
        pro, important = ({"x-api-key": keys[tier_name]} for tier_name in ("pro", "enterprise"))
        gateway = fleet.gateway_nodes[0]
        tier.mode = "503"
        tier.extra = {"Proxy-Status": "balancer-1; error=connection_limit_reached", "Retry-After": "1"}
        report = await OpenLoop(gateway.url, 150, 4, headers=pro).run()
        assert set(report.statuses) == {503}
        assert len(tier.seen) < 0.7 * len(report.samples), len(tier.seen)
        assert {seen.headers["x-gateway-class"] for seen in tier.seen} == {"critical"}
        async with fleet.control(gateway) as control:
            queue = (await control.snapshot()).queue
        assert queue is not None
        assert queue.refused_rps > 0
        before = len(tier.seen)
        await OpenLoop(gateway.url, 50, 1, headers=important).run()
        assert len(tier.seen) - before == 50
        assert tier.seen[-1].headers["x-gateway-class"] == "critical-plus"
        tier.mode, tier.extra = "ok", {}
        recovering = await OpenLoop(gateway.url, 100, 2, headers=pro).run()
        after = await OpenLoop(gateway.url, 100, 1, headers=pro).run()
        print(f"{before} of {len(report.samples)} sent; of 200 while recovering {len(recovering.failed)} dropped")
        assert not after.failed, str(after)
