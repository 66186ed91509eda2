"""LB_VERSIONS and LB_AFFINITY on a real balancer (data-path.md 7)."""

from __future__ import annotations

from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

from tests.harness.wait import eventually
from tests.integration.test_balancer import Balancer
from tests.integration.upstreams import Upstream


async def test_versions_and_tenants(tmp_path: Path) -> None:
    """A quarter of the clients go to the new version, each to one version; inside it a tenant stays on one endpoint; a
    version without endpoints leaves its clients to the others.
    """
    env = {"LB_VERSIONS": "2=25,1=75", "LB_AFFINITY": "header:X-Tenant"}
    async with AsyncExitStack() as stack:
        apis = [await stack.enter_async_context(Upstream(f"api-{number}")) for number in range(4)]
        balancer = Balancer(tmp_path, apis, env)
        rows = [api.info | {"version": "2" if api.name == "api-0" else "1"} for api in apis]
        balancer.announce(*rows)
        await stack.enter_async_context(balancer)
        await balancer.healthy(4)
        http = await stack.enter_async_context(balancer.http())
        served: dict[str, set[str]] = {}
        for number in range(240):
            client = f"192.0.2.{number % 80}"
            answer = await http.get("/x", headers={"X-Client-IP": client, "X-Tenant": client})
            served.setdefault(client, set()).add(answer.json()["servedBy"])
        assert all(len(names) == 1 for names in served.values()), served
        counted = Counter(name for names in served.values() for name in names)
        print(counted)
        assert 8 <= counted["api-0"] <= 34
        assert all(counted[name] >= 8 for name in ("api-1", "api-2", "api-3"))
        balancer.announce(*rows[1:])

        async def gone() -> bool:
            return "api-0" not in await balancer.states()

        await eventually(gone, 5, "version 2 is gone")
        assert [(await http.get("/x")).status_code for _ in range(20)] == [200] * 20
