"""A loop of its own: busy elsewhere, it goes on."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from scalable_operator import lease
from scalable_operator.aside import Aside
from scalable_operator.kube import Kube
from scalable_operator.lease import Lease
from tests.unit.scalable_operator.api_server import ApiServer, api_server

BUSY_S = 1.0


async def test_a_lease_is_renewed_while_the_loop_here_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A visit that keeps this loop for longer than the Lease's deadline costs nobody the lead."""
    monkeypatch.setattr(lease, "DEADLINE_S", BUSY_S / 2)
    monkeypatch.setattr(lease, "RETRY_S", BUSY_S / 10)
    there, mine = Aside("api server"), Aside("lease")
    serving = api_server()
    server = await there.run(serving.__aenter__())
    kube = await mine.run(_kube(server))
    held = await mine.run(_lease(kube))
    await mine.run(held.acquire())
    keep = asyncio.ensure_future(mine.run(held.keep()))
    await asyncio.sleep(0)
    time.sleep(BUSY_S)  # noqa: ASYNC251  # the loop's being busy is what is tested
    assert held.may_write()
    assert server.asked.count(f"PUT {PATH}") >= 3
    keep.cancel()
    await asyncio.gather(keep, return_exceptions=True)
    await mine.run(kube.close())
    await there.run(serving.__aexit__(None, None, None))
    await mine.close()
    await there.close()


async def test_a_failure_there_is_one_here() -> None:
    """And its thread ends with it."""
    aside = Aside("broken")
    with pytest.raises(ZeroDivisionError):
        await aside.run(_broken())
    await aside.close()
    assert "broken" not in {thread.name for thread in threading.enumerate()}


PATH = "/apis/coordination.k8s.io/v1/namespaces/n/leases/scalable-api-operator"


async def _kube(server: ApiServer) -> Kube:
    return Kube(server.login)


async def _lease(kube: Kube) -> Lease:
    return Lease(kube, "n", "a")


async def _broken() -> None:
    raise ZeroDivisionError
