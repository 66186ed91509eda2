"""APPLY: carry a decision out so that no request notices (operator.md §5.6).

Up: own victims come back first (one round trip), the rest is scaled. Down: V0 pick, V1 drain, V2 wait until every
caller looks away, V3 until it is empty, V4 mark, V5 scale by exactly the empty ones, V6 look whether those went. Every
step can be repeated: a crash at any of them loses no pod and no capacity, for marks end by themselves.

Longer than 200 lines because V0 to V6 are one argument about one pod.

Caller: controller.visit, after each decision. What is remembered is in `decide.Minded`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from services.controller.backend import Api, Done, Event, Fleet, Pod, Unchanged, Workload
from services.controller.decide import Minded, Victim
from services.controller.observe import Watch, is_draining
from services.controller.pods import ControlPorts, Hands
from services.core import autoscale, victims
from services.core.autoscale import Decision, Record
from services.schema.scalable_api import PATH_ORDER, Component, duration_ms

RENEW_MS: Final = 30_000
DECREASE_MS: Final = 1000
"""One decrease per second: a wrong series of them stays small."""
LEAVE_MS: Final = 5000
"""How long a marked pod may take to begin going before we believe that another went instead."""
AWAY: Final = frozenset({"draining", "disabled", "unhealthy"})


@dataclass(frozen=True, slots=True)
class Scene:
    """One component at one tick. `stale`: uids of pods that do not enforce the tiers document that they should."""

    now_ms: int
    api: Api
    component: Component
    fleet: Fleet
    watch: Watch
    stale: frozenset[str] = frozenset()

    @property
    def workload(self) -> Workload:
        return self.fleet[self.component.name]

    @property
    def pods(self) -> dict[str, Pod]:
        return {pod.uid: pod for pod in self.workload.pods}


async def carry_out(scene: Scene, decision: Decision, mind: Minded, hands: Hands) -> list[Event]:
    """One tick's part of the decision; returns what happened."""
    if mind.claim.found is not None:
        return await _put_back(scene, mind, hands)
    happened = await _check_leavers(scene, mind, hands)
    record = decision.record
    if record.final > record.committed:
        happened += await _more(scene, record, mind, hands)
    elif record.final < record.committed:
        happened += _fewer(scene, record, mind)
    happened += await _move_victims(scene, mind, hands)
    return happened


async def _put_back(scene: Scene, mind: Minded, hands: Hands) -> list[Event]:
    """Somebody wrote another number over ours: ours again; the next tick decides."""
    name, ours = scene.component.name, mind.claim.replicas
    who = scene.workload.writer or "somebody"
    message = f"{name}: {who} wrote {mind.claim.found} replicas over {ours}; put back"
    if not await _scale(scene, ours, mind, hands):
        return []
    return [Event("Warning", "ReplicasOverwritten", message, name)]


async def _more(scene: Scene, record: Record, mind: Minded, hands: Hands) -> list[Event]:
    wanted = record.final - record.committed
    happened: list[Event] = []
    back = [uid for uid, victim in reversed(mind.victims.items()) if victim.leaving_ms is None][:wanted]
    if back:
        pods = [scene.pods[uid] for uid in back if uid in scene.pods]
        returned = await hands.ports.drain(pods, hands.token, hands.backend.epoch, on=False)
        names = [mind.victims.pop(uid).pod.name for uid in back if uid in returned]
        if names:
            mind.memory = autoscale.changed(mind.memory, scene.now_ms, len(names))
            happened.append(Event("Normal", "Undrained", f"{', '.join(names)} serve again", scene.component.name))
        wanted -= len(names)
    if wanted > 0 and await _scale(scene, scene.workload.replicas + wanted, mind, hands):
        mind.memory = autoscale.changed(mind.memory, scene.now_ms, wanted)
        mind.scaled_at_ms = scene.now_ms
        happened.append(Event("Normal", "ScaledUp", sentence(scene.component.name, record), scene.component.name))
    return happened


def _fewer(scene: Scene, record: Record, mind: Minded) -> list[Event]:
    """V0. Committed falls at once: the victims count as draining from now on."""
    candidates = [_candidate(scene, pod) for pod in scene.workload.pods if _may_go(scene, pod, mind)]
    draining = sum(victim.leaving_ms is None for victim in mind.victims.values())
    floor = min(record.inputs.minimum, record.final)
    count = record.committed - record.final
    chosen = victims.pick(candidates, count, floor=floor, draining=draining)
    for uid in chosen:
        mind.victims[uid] = Victim(scene.pods[uid], scene.now_ms)
    if not chosen:
        return []
    mind.memory = autoscale.changed(mind.memory, scene.now_ms, -len(chosen))
    return [Event("Normal", "ScaledDown", sentence(scene.component.name, record), scene.component.name)]


def _may_go(scene: Scene, pod: Pod, mind: Minded) -> bool:
    return not pod.deleting and pod.uid not in mind.victims and not is_draining(pod, scene.watch, scene.now_ms)


def _candidate(scene: Scene, pod: Pod) -> victims.Candidate:
    snapshot = scene.watch.fresh(scene.now_ms, pod.uid)
    return victims.Candidate(
        pod.uid,
        ready=pod.ready,
        running=pod.phase == "Running" and (pod.ready or pod.starting),
        in_flight=snapshot.in_flight if snapshot else 0,
        tiers_stale=pod.uid in scene.stale,
        siblings=sum(other.node == pod.node for other in scene.workload.pods) - 1,
        restarts=pod.restarts,
        started_at_ms=pod.started_at_ms,
        protected=pod.protected,
    )


async def _move_victims(scene: Scene, mind: Minded, hands: Hands) -> list[Event]:
    happened: list[Event] = []
    active = {uid: victim for uid, victim in mind.victims.items() if victim.leaving_ms is None}
    await _drain(scene, active, hands)
    for uid, victim in active.items():
        happened += _advance(scene, scene.pods.get(uid), victim)
    empty = [uid for uid, victim in active.items() if victim.empty]
    if not empty or scene.now_ms - mind.scaled_at_ms < DECREASE_MS:
        return happened
    name = scene.component.name
    marked = await hands.backend.mark_victims(scene.api, name, frozenset(empty))
    if isinstance(marked, Done | Unchanged) and await _scale(scene, scene.workload.replicas - len(empty), mind, hands):
        mind.scaled_at_ms = scene.now_ms
        for uid in empty:
            mind.victims[uid].leaving_ms = scene.now_ms
    return happened


async def _drain(scene: Scene, active: dict[str, Victim], hands: Hands) -> None:
    """V1, and its renewal. What does not serve needs no drain."""
    due = {
        uid: scene.pods[uid]
        for uid, victim in active.items()
        if uid in scene.pods
        and not victim.empty
        and scene.pods[uid].ready | (victim.asked_ms is not None)
        and (victim.asked_ms is None or scene.now_ms - victim.asked_ms >= RENEW_MS)
    }
    for uid in await hands.ports.drain(due.values(), hands.token, hands.backend.epoch, on=True) if due else ():
        active[uid].asked_ms = scene.now_ms


def _advance(scene: Scene, pod: Pod | None, victim: Victim) -> list[Event]:
    if victim.empty or pod is None:
        victim.empty = True
        return []
    if victim.asked_ms is None:  # it never served, or its control port is mute
        victim.empty = not pod.ready or _waited(scene, victim) >= _timeout_ms(scene)
        return []
    if _waited(scene, victim) >= _timeout_ms(scene):
        victim.empty = True
        left = scene.watch.fresh(scene.now_ms, pod.uid)
        message = f"{victim.pod.name} still has {left.in_flight if left else 'unknown'} in flight; it goes all the same"
        return [Event("Warning", "DrainTimedOut", message, scene.component.name)]
    if _routed_away(scene, pod, victim):
        _note_idle(scene, pod, victim)
        victim.empty = victim.idle_twice
    return []


def _waited(scene: Scene, victim: Victim) -> int:
    return scene.now_ms - victim.since_ms


def _timeout_ms(scene: Scene) -> int:
    return duration_ms(scene.component.drain.timeout)


def _routed_away(scene: Scene, pod: Pod, victim: Victim) -> bool:
    """V2: every fresh caller looks away, or `settle` passed; what is outside the gateway cannot be asked."""
    position = PATH_ORDER.index(scene.component.name)
    settled = _waited(scene, victim) >= duration_ms(scene.component.drain.settle)
    if settled or position == 0:
        return settled
    callers = scene.fleet.get(PATH_ORDER[position - 1])
    snapshots = [scene.watch.fresh(scene.now_ms, caller.uid) for caller in (callers.pods if callers else ())]
    fresh = [snapshot for snapshot in snapshots if snapshot]
    listed = [endpoint for snapshot in fresh for endpoint in snapshot.endpoints if endpoint.id == pod.name]
    return bool(fresh) and all(endpoint.state in AWAY for endpoint in listed)


def _note_idle(scene: Scene, pod: Pod, victim: Victim) -> None:
    """V3: nothing in flight in two snapshots."""
    snapshot = scene.watch.fresh(scene.now_ms, pod.uid)
    if snapshot is None:
        return
    if snapshot.in_flight or not snapshot.draining:
        victim.idle_seq = -1
    elif victim.idle_seq < 0:
        victim.idle_seq = snapshot.seq
    elif snapshot.seq != victim.idle_seq:
        victim.idle_twice = True


async def _check_leavers(scene: Scene, mind: Minded, hands: Hands) -> list[Event]:
    """V6: the marked ones are going; a survivor serves again."""
    happened: list[Event] = []
    for uid, victim in list(mind.victims.items()):
        pod = scene.pods.get(uid)
        if pod is None or pod.deleting:
            if victim.leaving_ms is not None or pod is None:
                del mind.victims[uid]
        elif victim.leaving_ms is not None and scene.now_ms - victim.leaving_ms > LEAVE_MS:
            await hands.backend.mark_victims(scene.api, scene.component.name, frozenset())
            await hands.ports.drain([pod], hands.token, hands.backend.epoch, on=False)
            del mind.victims[uid]
            message = f"{victim.pod.name} was marked, another went; it serves again"
            happened.append(Event("Warning", "VictimMissed", message, scene.component.name))
    return happened


async def let_go(victims: Iterable[Victim], ports: ControlPorts, token: str, epoch: int) -> None:
    """Nobody asks for fewer any more: who was drained serves again now, not when the mark ends by itself."""
    drained = [victim.pod for victim in victims if victim.asked_ms is not None and victim.leaving_ms is None]
    if drained:
        await ports.drain(drained, token, epoch, on=False)


async def _scale(scene: Scene, replicas: int, mind: Minded, hands: Hands) -> bool:
    seen = scene.workload.seen
    done = isinstance(await hands.backend.scale(scene.api, scene.component.name, replicas, seen), Done)
    if done:
        mind.claim.wrote(replicas, seen)
    return done


def sentence(name: str, record: Record) -> str:
    """`api 4→16: in-flight 320, target 20 each, Panic`."""
    leading: Sequence[autoscale.MetricRecord] = sorted(record.metrics, key=lambda m: (m.missing, -m.proposal))
    why = record.reason
    if leading and not leading[0].missing:
        metric = leading[0]
        load = max(metric.stable, metric.recent) if record.inputs.in_panic else metric.stable
        why = f"{metric.name} {milli_text(load)}, target {milli_text(metric.target)} each, {record.reason}"
    return f"{name} {record.committed}→{record.final}: {why}"


def milli_text(milli: int) -> str:
    """72 500 → `72.5`."""
    return f"{milli / 1000:.3f}".rstrip("0").rstrip(".")
