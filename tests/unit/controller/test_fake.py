"""The fake behaves like a home: versions, marks, counts, refusals."""

from __future__ import annotations

from services.controller.backend import Conflict, Done, Record, Unchanged
from services.controller.fake import FakeBackend, FakePorts
from services.schema.tiers import BUILT_IN, render
from tests.unit.controller.scene import api


async def test_scale_follows_marks_and_versions():
    """A stale `seen` conflicts, the same count is unchanged, the marked one goes."""
    backend = FakeBackend(api())
    backend.have("api", 2)
    first = backend.workloads["api"].pods[0]
    assert await backend.scale(api(), "api", 3, "0") == Conflict()
    assert await backend.scale(api(), "api", 2, "1") == Unchanged()
    await backend.mark_victims(api(), "api", frozenset({first.uid}))
    assert await backend.scale(api(), "api", 1, "1") == Done()
    assert first not in backend.workloads["api"].pods
    assert await backend.write_record(api(), Record(), "") == Done("1")
    assert await backend.write_record(api(), Record(), "") == Conflict()
    assert (await backend.changed(0), backend.apis()[api().key].name, await backend.token(api(), refresh=True)) == (
        set(),
        "shop",
        "fake-control-token",
    )


async def test_ports_say_what_they_were_told():
    """Own members over the component's; pushes are enforced, refused, not heard."""
    ports, backend = FakePorts(), FakeBackend(api())
    backend.have("gateway", 4)
    pods = backend.workloads["gateway"].pods
    ports.says = {"gateway": {"rps": 1.0}, "gateway-2": {"rps": 2.0}}
    ports.mute, ports.refuses, ports.holds_newer = {"gateway-1"}, {"gateway-2"}, {"gateway-3"}
    polled = (await ports.poll(pods, "t")).snapshots
    assert {uid: snapshot.rps for uid, snapshot in polled.items()} == {"gateway-2": 2, "gateway-3": 1, "gateway-4": 1}
    answers = await ports.push(pods, "t", 1, render(BUILT_IN))
    assert [answers[pod.uid].status for pod in pods] == [0, 422, 409, 200]
    assert await ports.drain(pods[:2], "t", 1, on=True) == {"gateway-2"}
    await ports.close()
