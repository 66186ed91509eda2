"""The controller's loop: observe → decide → apply → status, once a second and object, sooner after a change.

A tick that fails is logged and the next one starts from what is there: nothing in memory is needed for correctness,
only for smoothness. Started by `scalable-api up` here, by the operator on Kubernetes; they differ in the `Backend`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from services.controller import acks, rotation, status
from services.controller.apply import Scene, carry_out
from services.controller.backend import Api, Backend, Conflict, Done, Event, Fleet, Key, Pod, Record, Unchanged
from services.controller.conditions import DISABLED
from services.controller.decide import Minded, decide_all
from services.controller.events import EventFilter
from services.controller.facts import Facts, History
from services.controller.observe import Watch
from services.controller.pods import ControlPorts, Hands
from services.controller.trials import Trials
from services.core import circuits
from services.core.autoscale import Decision
from services.runtime.log import get_log
from services.runtime.tasks import spawn
from services.schema.scalable_api import ScalableApiSpec
from services.schema.snapshot import Snapshot
from services.schema.status import Status

TICK_S: Final = 1.0
BATCH_S: Final = 0.1
"""Changes come in bunches; a tick takes them together."""
REST_MS: Final = 5000
"""Between two writes of a status in which nothing turned."""
FLAP_WRITES: Final = 10
"""More circuit-only writes than this in a minute: then one per `REST_MS`."""
TOKEN_MS: Final = 10_000
STATES: Final[Mapping[str, circuits.State]] = {"open": "Open", "half-open": "HalfOpen", "closed": "Closed"}

log = get_log(__name__)


def steady_clock() -> Callable[[], int]:
    """Milliseconds since 1970 that never jump: the wall clock once, then the monotonic one."""
    start = time.time() - time.monotonic()
    return lambda: round((start + time.monotonic()) * 1000)


@dataclass(slots=True)
class Mind:
    """What is remembered of one object between ticks."""

    watch: Watch = field(default_factory=Watch)
    components: dict[str, Minded] = field(default_factory=dict)
    acks: acks.Acks = field(default_factory=acks.Acks)
    trials: Trials = field(default_factory=Trials)
    record: Record | None = None
    history: History = field(default_factory=History)
    circuits: circuits.Memory = field(default_factory=circuits.Memory)
    status: Status = field(default_factory=Status)
    written_ms: int = -REST_MS
    circuit_writes: tuple[int, ...] = ()
    token_ms: int = -TOKEN_MS
    unauthorized: bool = False
    told: tuple[tuple[str, object], ...] = ()
    stale: frozenset[str] = frozenset()


class Controller:
    """`run` until cancelled; `tick` is one visit to every object."""

    def __init__(
        self, backend: Backend, ports: ControlPorts, *, version: str, now_ms: Callable[[], int] | None = None
    ) -> None:
        self._backend, self._ports, self._version = backend, ports, version
        self._now_ms = now_ms or steady_clock()
        self._minds: dict[Key, Mind] = {}
        self._events = EventFilter()

    async def run(self) -> None:
        """Forever; cancelling is the way out, and takes effect between two ticks: none is cut in half."""
        while True:
            started = time.monotonic()
            tick = spawn(self.tick(), name="tick")
            try:
                await asyncio.shield(tick)
            except asyncio.CancelledError:
                await tick
                raise
            left = TICK_S - (time.monotonic() - started)
            if await self._backend.changed(max(BATCH_S, left)):
                await asyncio.sleep(BATCH_S)

    async def tick(self) -> None:
        """Visit every object; one that fails does not keep the others waiting."""
        apis = self._backend.apis()
        for key in set(self._minds) - set(apis):
            del self._minds[key]
        for key, api in apis.items():
            try:
                await self._visit(api, self._minds.setdefault(key, Mind()))
            except Exception:
                log.exception("tick failed", object=api.name)

    async def _visit(self, api: Api, mind: Mind) -> None:
        fleet = self._backend.fleet(api)
        hands = Hands(self._backend, self._ports, await self._token(api, mind))
        pods = [pod for workload in fleet.values() for pod in workload.pods if not pod.deleting]
        polled = await self._ports.poll(pods, hands.token)
        now_ms, mind.unauthorized = self._now_ms(), polled.unauthorized
        mind.watch.take(now_ms, polled.snapshots, (pod.uid for pod in pods))
        acts = self._backend.may_write() and api.annotations.get(DISABLED[0]) != DISABLED[1]
        decisions: dict[str, Decision] = {}
        happened, message = self._news(api, mind), ""
        if api.spec is not None:
            decisions = decide_all(now_ms, api.spec, fleet, mind.watch, mind.components)
            mind.acks.take(mind.watch, _limiters(fleet), _gateways(fleet))
            if mind.record:
                mind.trials.take(now_ms, api.spec, mind.record, mind.watch, mind.acks.gateways)
            if acts:
                happened += await _apply(now_ms, api, fleet, decisions=decisions, mind=mind, hands=hands)
                told, message = await self._rotate(now_ms, api, api.spec, mind, hands)
                happened += told
        facts = self._facts(now_ms, api, fleet, decisions=decisions, mind=mind, message=message)
        happened += [*_circuit_events(facts.circuits), *_decision_events(decisions), *_stale_events(facts, mind)]
        await self._publish(facts, mind)
        for event in happened:
            if (admitted := self._events.admit(now_ms, api.key, event)) is not None:
                await self._backend.emit(api, admitted)

    async def _token(self, api: Api, mind: Mind) -> str:
        now_ms = self._now_ms()
        refresh = mind.unauthorized and now_ms - mind.token_ms >= TOKEN_MS
        if refresh:
            mind.token_ms = now_ms
        return await self._backend.token(api, refresh=refresh)

    # -------------------------------------------------------------------------------------------------- the tiers

    async def _rotate(
        self, now_ms: int, api: Api, spec: ScalableApiSpec, mind: Mind, hands: Hands
    ) -> tuple[list[Event], str]:
        """Plan, store, push; a second round in the same tick sees the answers of the first."""
        happened: list[Event] = []
        message = ""
        for _ in range(2):
            record = mind.record or await self._backend.read_record(api) or Record()
            retry, verdict = api.annotations.get(rotation.RETRY, ""), mind.trials.verdict(now_ms, spec, record)
            planned = rotation.plan(now_ms, spec, record, mind.acks, retry=retry, verdict=verdict)
            message = planned.message
            if not await self._keep(api, mind, record, planned.record):
                break
            happened += planned.events
            answers = await acks.push(now_ms, spec, mind.record or record, mind.acks, hands)
            refused = [error for a in answers.values() if a.status == 422 for error in a.errors or ("refused",)]
            if refused and mind.record and mind.record.active and mind.record.phase in {"RollingOut", "Canary"}:
                planned = rotation.roll_back(now_ms, mind.record, refused, spec.tiers.rotation.history_limit)
                message = planned.message
                if await self._keep(api, mind, mind.record, planned.record):
                    happened += planned.events
            if any(answer.status == 409 for answer in answers.values()):
                mind.record = None  # somebody holds a newer one: look before the next push
                break
            if not answers:
                break
        return happened, message

    async def _keep(self, api: Api, mind: Mind, before: Record, after: Record) -> bool:
        """Store the record if it changed; False when it could not be: then nothing is pushed."""
        if after is before:
            mind.record = before
            return True
        outcome = await self._backend.write_record(api, after, before.seen)
        mind.record = await self._backend.read_record(api) if isinstance(outcome, Done | Unchanged) else None
        if not isinstance(outcome, Done | Unchanged | Conflict):
            log.warning("record not written", object=api.name, outcome=str(outcome))
        return mind.record is not None

    # ------------------------------------------------------------------------------------------------- the status

    def _facts(
        self, now_ms: int, api: Api, fleet: Fleet, *, decisions: Mapping[str, Decision], mind: Mind, message: str
    ) -> Facts:
        pods = [(name, pod) for name, workload in fleet.items() for pod in workload.pods if not pod.deleting]
        fresh = {pod.uid: mind.watch.fresh(now_ms, pod.uid) for _, pod in pods}
        found = circuits.aggregate(now_ms, [_report(name, fresh[pod.uid]) for name, pod in pods], mind.circuits)
        mind.circuits = found.memory
        record = mind.record or Record()
        limiters = [snapshot.limiter for snapshot in fresh.values() if snapshot and snapshot.limiter]
        return Facts(
            now_ms=now_ms,
            api=api,
            fleet=fleet,
            decisions=decisions,
            record=record,
            live=len(mind.acks.live),
            acked=mind.acks.enforcing(record.candidate if record.phase == "Canary" else record.active),
            stale=acks.stale(now_ms, record, api.spec, mind.acks) if api.spec else [],
            canary=mind.trials.canary_status(record, [p.name for p in mind.acks.live if p.uid in record.canaries]),
            shadow=mind.trials.shadow_status(record),
            tiers_message=message,
            circuits=found,
            unreachable=sorted(pod.name for _, pod in pods if pod.ready and fresh[pod.uid] is None),
            degraded_store=any(limiter.degraded for limiter in limiters),
            token_refused=mind.unauthorized,
            version=self._version,
        )

    async def _publish(self, facts: Facts, mind: Mind) -> None:
        found = status.build(facts, mind.status, mind.history)
        if found == mind.status:
            return
        turned = status.turned(found) != status.turned(mind.status) or _circuits_due(facts.now_ms, found, mind)
        if not turned and facts.now_ms - mind.written_ms < REST_MS:
            return
        outcome = await self._backend.publish(facts.api, found, "")
        if isinstance(outcome, Done | Unchanged):
            if found.circuits != mind.status.circuits:
                recent = tuple(at for at in mind.circuit_writes if facts.now_ms - at < 60_000)
                mind.circuit_writes = (*recent, facts.now_ms)
            mind.status, mind.written_ms = found, facts.now_ms

    def _news(self, api: Api, mind: Mind) -> list[Event]:
        """What the object itself says that it did not say before."""
        paused = api.spec.paused if api.spec else None
        news: list[Event] = []
        told = dict(mind.told)
        if api.errors and told.get("errors") != api.errors:
            news.append(Event("Warning", "ConfigRejected", api.errors[0]))
        if mind.told and paused is not None and told.get("paused") != paused:
            stops = [name for name, on in paused.model_dump().items() if on]
            reason = "Paused" if stops else "Resumed"
            news.append(Event("Normal", reason, ", ".join(stops) or "nothing is paused any more"))
        mind.told = (("errors", api.errors), ("paused", paused))
        return news


async def _apply(
    now_ms: int, api: Api, fleet: Fleet, *, decisions: Mapping[str, Decision], mind: Mind, hands: Hands
) -> list[Event]:
    happened: list[Event] = []
    for name, decision in decisions.items():
        component = api.spec.component(name) if api.spec else None
        if component is not None:
            scene = Scene(now_ms, api, component, fleet, mind.watch)
            happened += await carry_out(scene, decision, mind.components[name], hands)
    return happened


def _limiters(fleet: Fleet) -> list[Pod]:
    """Who enforces the document: ready gateways and balancers that stay."""
    workloads = [fleet[name] for name in ("gateway", "balancer") if name in fleet]
    return [pod for workload in workloads for pod in workload.pods if pod.ready and not pod.deleting]


def _gateways(fleet: Fleet) -> frozenset[str]:
    return frozenset(pod.uid for pod in fleet["gateway"].pods) if "gateway" in fleet else frozenset()


def _report(component: str, snapshot: Snapshot | None) -> circuits.Report:
    if snapshot is None:
        return circuits.Report(component, fresh=False)
    breakers = tuple(
        circuits.Breaker(b.name, STATES.get(b.state, "Closed"), b.since, b.reason, b.forced, b.retry_at)
        for b in snapshot.breakers
    )
    return circuits.Report(component, fresh=True, breakers=breakers)


def _circuits_due(now_ms: int, found: Status, mind: Mind) -> bool:
    """A transition of a circuit is written at once, unless they come by the dozen."""
    recent = sum(now_ms - at < 60_000 for at in mind.circuit_writes)
    return found.circuits != mind.status.circuits and recent < FLAP_WRITES


def _circuit_events(found: circuits.Aggregate) -> list[Event]:
    return [
        *(
            Event("Warning", "CircuitOpened", f"{i.component}: {i.name} {i.reason}".strip(), f"{i.component}/{i.name}")
            for i in found.opened
        ),
        *(
            Event("Normal", "CircuitClosed", f"{i.component}: {i.name}", f"{i.component}/{i.name}")
            for i in found.closed
        ),
    ]


def _decision_events(decisions: Mapping[str, Decision]) -> Iterable[Event]:
    for name, decision in decisions.items():
        if decision.fallback_started:
            message = f"{name}: no metric can be read; {decision.record.reason} {decision.final}"
            yield Event("Warning", "FallbackActivated", message, name)
        if decision.fallback_ended:
            yield Event("Warning", "FallbackDeactivated", f"{name}: metrics are read again", name)
        if any(step.rule == "Starts" for step in decision.record.steps):
            message = f"{name}: replicas are slow to start; no more are added on top of them"
            yield Event("Warning", "StartsStuck", message, name)


def _stale_events(facts: Facts, mind: Mind) -> list[Event]:
    """Each pod once, when it becomes stale."""
    before, mind.stale = mind.stale, frozenset(facts.stale)
    late = sorted(mind.stale - before)
    return [Event("Warning", "PodsStale", f"{name} does not acknowledge the tiers document", name) for name in late]
