"""What may be believed, and who counts as what."""

from __future__ import annotations

from services.controller.backend import Pod, Workload
from services.controller.fake import FakePorts
from services.controller.observe import Watch, counts, readings
from services.schema.snapshot import QueueState, ShedState


async def watched(*pods: Pod, now_ms: int = 0, **says: dict[str, object]) -> tuple[Watch, FakePorts]:
    watch, ports = Watch(), FakePorts()
    ports.says = says
    watch.take(now_ms, (await ports.poll(pods, "t")).snapshots, [pod.uid for pod in pods])
    return watch, ports


READY = Pod("u1", "api-1", "Running", ready=True, started_at_ms=-4000)


async def test_fresh_is_recent_and_advancing():
    """Three poll intervals; a snapshot whose seq stands still ages although it keeps coming."""
    watch, ports = await watched(READY)
    frozen = (await ports.poll([READY], "t")).snapshots
    watch.take(1000, frozen, ["u1"])
    watch.take(4000, frozen, ["u1"])
    assert watch.fresh(4000, "u1") is not None
    assert watch.fresh(4001, "u1") is None
    watch.take(5000, {}, [])
    assert watch.seen == {}


async def test_counts():
    """Deleting ones are gone; victims and whoever says so drain; unready ones that were ready are nothing."""
    pods = (
        READY,
        Pod("u2", "api-2", "Running", ready=True, started_at_ms=-1000),
        Pod("u3", "api-3", "Running", ready=False),
        Pod("u4", "api-4", "Running", starting=True, started_at_ms=-70_000),
        Pod("u5", "api-5", "Pending"),
        Pod("u6", "api-6", "Running", deleting=True, ready=True),
        Pod("u7", "api-7", "Running", ready=True),
    )
    watch, ports = await watched(*pods)
    ports.draining = {"api-3"}
    watch.take(1, (await ports.poll(pods, "t")).snapshots, [pod.uid for pod in pods])
    workload = Workload(6, "1", "x", updated=False, rivals=("hpa",), pods=pods)
    found = counts(1, workload, watch, frozenset({"u7"}))
    assert (found.ready, found.starting, found.pending, found.draining, found.replicas) == (2, 1, 1, 2, 6)
    assert (found.stuck, found.rollout, found.conflicted, found.committed) == (True, True, False, 4)
    assert found.start_times_ms == (4001, 1001)
    assert counts(2, workload, watch, frozenset({"u7"})).start_times_ms == ()


async def test_a_draining_pod_still_serves():
    """Its load counts, or a drain would look like less demand; a blind one is not fresh; none without a workload."""
    draining = Pod("u2", "api-2", "Running")
    pods = (READY, draining, Pod("u3", "api-3", "Running", ready=True))
    watch, ports = await watched(*pods)
    ports.draining, ports.mute = {"api-2"}, {"api-3"}
    ports.says = {"api": {"rps": 5.0, "in_flight": 2}}
    watch.take(9000, (await ports.poll(pods, "t")).snapshots, [pod.uid for pod in pods])
    found = readings(9000, Workload(3, "1", "x", pods=pods), watch)
    assert [(reading.fresh, reading.rps) for reading in found] == [(True, 5.0), (True, 5.0), (False, 0.0)]
    assert readings(0, None, watch) == []


async def test_what_was_refused_and_what_waits_is_told():
    """Refused for lack of its own capacity, waiting and refused for lack of the next hop's: they count as demand."""
    watch, ports = await watched(READY)
    assert (found := readings(0, Workload(1, "1", "x", pods=(READY,)), watch)[0]).fresh
    assert (found.shed_rps, found.queue_depth, found.refused_rps) == (0, 0, 0)
    ports.says = {"api": {"shed": ShedState(2, 30.0), "queue": QueueState(7, 4.0, 20.0)}}
    watch.take(1, (await ports.poll([READY], "t")).snapshots, ["u1"])
    found = readings(1, Workload(1, "1", "x", pods=(READY,)), watch)[0]
    assert (found.shed_rps, found.queue_depth, found.refused_rps) == (30.0, 7, 20.0)
