"""The stage sets the endpoint, or refuses."""

from __future__ import annotations

from collections import Counter

from services.balancer.stages.pick import Pick
from services.core.verdicts import Refusal
from tests.unit.balancer.fakes import Bench


async def test_idle_endpoints_share_to_a_request_or_two() -> None:
    """Sequential requests on equal idle endpoints: never further from an even share than three, from any start."""
    bench = Bench(3)
    pick = Pick(bench.fleet)
    counts = Counter[str]()
    for number in range(1, 301):
        x = bench.exchange()
        assert pick.pick(x) is None
        counts[x.endpoint.id] += 1
        assert max(counts.values()) - number / 3 <= 3


async def test_pick() -> None:
    """An endpoint not excluded; without any, the refusal of the fleet; nothing is counted yet."""
    bench = Bench(2)
    x = bench.exchange()
    x.excluded = (bench.endpoint("api-1"),)
    assert Pick(bench.fleet).pick(x) is None
    assert x.endpoint is bench.endpoint("api-2")
    assert x.endpoint.active == 0
    bench.fleet.sync(())
    out = Pick(bench.fleet).pick(bench.exchange())
    assert isinstance(out, Refusal)
    assert out.slug == "no-backend"
