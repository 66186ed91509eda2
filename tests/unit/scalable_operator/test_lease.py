"""The Lease: one holder, an epoch that grows with each, nothing written past its deadline."""

from __future__ import annotations

from scalable_operator.kube import Kube
from scalable_operator.lease import DEADLINE_S, DURATION_S, Lease
from tests.unit.scalable_operator.api_server import ApiServer, api_server

PATH = "/apis/coordination.k8s.io/v1/namespaces/n/leases/scalable-api-operator"


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def lease(server: ApiServer, who: str, clock: Clock) -> tuple[Lease, Kube]:
    kube = Kube(server.login)
    return Lease(kube, "n", who, clock=clock), kube


async def test_the_first_one_creates_it() -> None:
    """Where there is none, it is made, with epoch 1; nothing may be written before."""
    async with api_server() as server:
        mine, kube = lease(server, "a", Clock())
        assert not mine.may_write()
        await mine.acquire()
        assert mine.may_write()
        assert mine.epoch == 1
        assert server.objects[PATH]["spec"]["holderIdentity"] == "a"
        await kube.close()


async def test_an_empty_one_is_taken_at_once() -> None:
    """The chart renders the Lease without a spec."""
    async with api_server() as server:
        server.put(PATH, {"metadata": {"name": "scalable-api-operator"}})
        mine, kube = lease(server, "a", Clock())
        await mine.acquire()
        assert mine.epoch == 1
        await kube.close()


async def test_the_deadline_ends_writing_before_anyone_may_take_over() -> None:
    """Six seconds after the last renewal was sent it may not write; nine seconds after it changed last, another may."""
    async with api_server() as server:
        clock, other_clock = Clock(), Clock()
        mine, kube = lease(server, "a", clock)
        other, kube2 = lease(server, "b", other_clock)
        await mine.acquire()
        assert not await other._take()
        clock.now += DEADLINE_S
        assert not mine.may_write()
        other_clock.now += DURATION_S - 0.1
        assert not await other._take()
        other_clock.now += 0.1
        assert await other._take()
        assert other.epoch == 2
        await mine._renew()
        assert mine._held is None  # it has seen the other's name
        await kube.close()
        await kube2.close()


async def test_a_released_one_is_free_at_once() -> None:
    """SIGTERM empties the holder: the next one does not wait."""
    async with api_server() as server:
        mine, kube = lease(server, "a", Clock())
        other, kube2 = lease(server, "b", Clock())
        await mine.acquire()
        await mine.release()
        assert not mine.may_write()
        assert await other._take()
        assert other.epoch == 2
        await kube.close()
        await kube2.close()


async def test_a_renewal_survives_somebody_elses_annotation() -> None:
    """409 with our name still in it: renewed at the new version."""
    async with api_server() as server:
        clock = Clock()
        mine, kube = lease(server, "a", clock)
        await mine.acquire()
        server.put(PATH, {**server.objects[PATH]})
        clock.now += 5
        await mine._renew()
        clock.now += 5
        assert mine.may_write()
        await kube.close()
