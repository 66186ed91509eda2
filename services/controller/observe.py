"""OBSERVE: snapshots in, and from them what the decision may rely on (operator.md §5.1).

A snapshot is fresh while it was received at most three poll intervals ago by our own clock and its `seq` had advanced;
the pods' clocks are never used. Who counts as ready, starting, pending, draining is settled here, once, for all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from services.controller.backend import Pod, Workload
from services.core.autoscale import Counts
from services.core.demand import Reading
from services.schema.snapshot import Snapshot

FRESH_MS: Final = 3000
STUCK_MS: Final = 60_000
Ages = tuple[int, int]
"""(believed for, new for), in ms."""
NO_AGES: Final[Mapping[str, Ages]] = {}


def ages(interval_ms: int, rounds: int) -> Ages:
    """Of a pod that is asked at least once in `rounds` visits, `interval_ms` apart."""
    return FRESH_MS * interval_ms // 1000 * rounds, (3 if rounds == 1 else 1) * interval_ms + interval_ms // 2


@dataclass(slots=True)
class Seen:
    """The last snapshot of a pod, and when its seq last advanced; it is believed for `good_ms`, new for `new_ms`."""

    snapshot: Snapshot
    at_ms: int
    good_ms: int = FRESH_MS
    new_ms: int = FRESH_MS


@dataclass(slots=True)
class Watch:
    """Everything heard from one object's pods."""

    seen: dict[str, Seen] = field(default_factory=dict)
    was_ready: set[str] = field(default_factory=set)

    def take(
        self, now_ms: int, snapshots: Mapping[str, Snapshot], live: Iterable[str], ages: Mapping[str, Ages] = NO_AGES
    ) -> None:
        """Note what came in; forget pods that are not `live` any more. `ages`: of pods that are not asked each second."""
        for uid, snapshot in snapshots.items():
            before = self.seen.get(uid)
            if before is None or snapshot.seq != before.snapshot.seq:
                self.seen[uid] = Seen(snapshot, now_ms, *ages.get(uid, (FRESH_MS, FRESH_MS)))
        keep = set(live)
        self.seen = {uid: seen for uid, seen in self.seen.items() if uid in keep}
        self.was_ready &= keep

    def fresh(self, now_ms: int, uid: str) -> Snapshot | None:
        """The pod's snapshot, if it may be believed now."""
        seen = self.seen.get(uid)
        return seen.snapshot if seen and now_ms - seen.at_ms <= seen.good_ms else None

    def new(self, now_ms: int, uid: str) -> bool:
        """Is it of the latest visit, where not all pods are asked at each?"""
        seen = self.seen.get(uid)
        return seen is not None and now_ms - seen.at_ms <= seen.new_ms

    def newly_ready(self, now_ms: int, pods: Iterable[Pod]) -> tuple[int, ...]:
        """How long those took that are ready for the first time: the learned start-to-ready time."""
        fresh = [pod for pod in pods if pod.ready and pod.uid not in self.was_ready]
        self.was_ready |= {pod.uid for pod in fresh}
        return tuple(max(0, now_ms - pod.started_at_ms) for pod in fresh)


def is_draining(pod: Pod, watch: Watch, now_ms: int) -> bool:
    """Whoever marked it."""
    snapshot = watch.fresh(now_ms, pod.uid)
    return not pod.deleting and snapshot is not None and snapshot.draining


def counts(now_ms: int, workload: Workload, watch: Watch, victims: frozenset[str]) -> Counts:
    """The numbers of the decision. `victims` are ours; their mark may not have arrived yet."""
    pods = [pod for pod in workload.pods if not pod.deleting]
    draining = {pod.uid for pod in pods if pod.uid in victims or is_draining(pod, watch, now_ms)}
    staying = [pod for pod in pods if pod.uid not in draining]
    starting = [pod for pod in staying if pod.phase == "Running" and not pod.ready and pod.starting]
    pending = [pod for pod in staying if pod.phase != "Running"]
    return Counts(
        ready=sum(pod.ready for pod in staying),
        starting=len(starting),
        pending=len(pending),
        draining=len(draining),
        replicas=workload.replicas,
        stuck=any(now_ms - pod.started_at_ms > STUCK_MS for pod in (*starting, *pending)),
        rollout=not workload.updated,
        start_times_ms=watch.newly_ready(now_ms, staying),
    )


def readings(now_ms: int, workload: Workload | None, watch: Watch) -> list[Reading]:
    """What each ready pod that stays says about its load. A draining one still serves, so it counts too."""
    pods = [pod for pod in (workload.pods if workload else ()) if not pod.deleting]
    serving = [pod for pod in pods if pod.ready or is_draining(pod, watch, now_ms)]
    return [_reading(watch.fresh(now_ms, pod.uid), new=watch.new(now_ms, pod.uid)) for pod in serving]


def _reading(snapshot: Snapshot | None, *, new: bool) -> Reading:
    if snapshot is None:
        return Reading(fresh=False)
    return Reading(
        new=new,
        in_flight=snapshot.in_flight,
        rps=snapshot.rps,
        p50_ms=snapshot.latency.p50,
        p95_ms=snapshot.latency.p95,
        cpu=snapshot.cpu,
        loop_lag_ms=snapshot.loop_lag_ms,
        shed_rps=snapshot.shed.rps if snapshot.shed else 0.0,
        queue_depth=snapshot.queue.depth if snapshot.queue else 0.0,
        refused_rps=snapshot.queue.refused_rps if snapshot.queue else 0.0,
    )
