"""More asked than can be done, and nobody there at all (reliability.md P10, F16, F18): what is promised, with bounds
that a busy machine keeps; figures are printed.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from time import monotonic

from tests.harness.http import client
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
