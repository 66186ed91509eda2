"""One visit to one object: observe → decide → apply → status (operator.md §0). All its steps are here, in their order.

Caller: controller.loop, never twice at once for one object.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from services.controller import budgets, news, timetable
from services.controller.accept import accepted
from services.controller.apply import Scene, carry_out, let_go
from services.controller.backend import Api, Backend, Event, Fleet, Pod, Record
from services.controller.collect import facts_of, gateways, limiters
from services.controller.conditions import DISABLED, FORCE
from services.controller.decide import decide_all
from services.controller.events import EventFilter
from services.controller.meters import Meters
from services.controller.mind import TOKEN_MS, Mind
from services.controller.observe import Ages, ages
from services.controller.pace import IDLE_MS, Load, Pace, chosen, rounds
from services.controller.pods import ControlPorts, Hands
from services.controller.prometheus import Numbers
from services.controller.publish import publish
from services.controller.rounds import keep_line, known, rotate
from services.controller.writes import Writer
from services.core.autoscale import Decision
from services.schema.scalable_api import ScalableApiSpec

UNHURRIED: Final = Pace()
AT_REST: Final = frozenset({"Active", "Shadowing", "RolledBack", "Rejected", "Paused"})
DRAWS: Final = random.Random()  # noqa: S311  # which pods are asked first is no secret


@dataclass(frozen=True, slots=True)
class Done:
    """What came of deciding and acting; nothing without a spec."""

    decisions: Mapping[str, Decision] = field(default_factory=dict)
    purse: budgets.Purse | None = None
    happened: Sequence[Event] = ()
    message: str = ""


@dataclass(frozen=True, slots=True)
class Visitor:
    """What every visit needs."""

    backend: Backend
    ports: ControlPorts
    version: str
    events: EventFilter
    numbers: Numbers
    meters: Meters

    async def visit(self, now_ms: int, found: Api, mind: Mind, pace: Pace = UNHURRIED) -> Load:
        """One tick of one object; what it costs to poll it."""
        started_s = time.monotonic()
        mind.namespace, mind.name, mind.generation = found.namespace, found.name, found.generation
        mind.force(found.annotations.get(FORCE, ""))
        mind.token = await self._token(now_ms, found, mind)
        found = self.backend.apis().get(found.key, found)  # it says now why there is no token
        api, fleet = accepted(found, mind.checked, self.numbers.servers), self.backend.fleet(found)
        writer = Writer(self.backend, mind.denied, self.meters.wrote(started_s))
        hands = Hands(writer, self.ports, mind.token)
        await self._observe(now_ms, api.spec, fleet, mind=mind, hands=hands, pace=pace)
        happened, done = news.object_events(api, mind.told), Done()
        if api.spec is not None:
            done = await self._decide_and_act(now_ms, api, api.spec, fleet, mind=mind, hands=hands)
        facts = facts_of(
            now_ms, api, fleet, done.decisions, mind, purse=done.purse, message=done.message, version=self.version
        )
        happened += [*done.happened, *news.all_events(facts, mind.told)]
        await publish(facts, mind, hands)
        await self._tell(now_ms, api, happened)
        self.meters.visit.observe(time.monotonic() - started_s)
        return load_of(now_ms, fleet, mind)

    async def part(self, mind: Mind) -> None:
        """The object is gone, its pods stay: without a finalizer what is left to do is done afterwards."""
        for minded in mind.components.values():
            await let_go(minded.victims.values(), self.ports, mind.token, self.backend.epoch)

    async def _decide_and_act(
        self, now_ms: int, api: Api, spec: ScalableApiSpec, fleet: Fleet, *, mind: Mind, hands: Hands
    ) -> Done:
        """Always decides; acts as leader, unless the object asks not to or another one has the workload."""
        disabled = api.annotations.get(DISABLED[0]) == DISABLED[1]
        acts = self.backend.may_write() and not disabled and not api.conflict
        record = mind.record = await known(api, mind, hands)
        purse = budgets.purse(now_ms, spec, fleet, record.budget or mind.line)
        mind.line = purse.line if purse else None
        tables = {name: minded.table for name, minded in mind.components.items()}
        fetched = mind.fetched.values(now_ms)
        decisions = decide_all(
            now_ms, spec, fleet, mind.watch, mind.components, purse=purse, fetched=fetched, acts=acts
        )
        self._count(now_ms, mind, decisions)
        happened = _edges(tables, mind)
        mind.trials.take(now_ms, spec, record, mind.watch, mind.acks.gateways)
        if not acts:
            return Done(decisions, purse, happened)
        happened += await _apply(now_ms, api, fleet, decisions=decisions, mind=mind, hands=hands)
        told, message = await rotate(now_ms, api, spec, mind, hands)
        self.meters.happened(told, now_ms - record.since_ms)
        await keep_line(api, spec, purse, mind, hands)
        return Done(decisions, purse, [*happened, *told], message)

    async def _observe(
        self, now_ms: int, spec: ScalableApiSpec | None, fleet: Fleet, *, mind: Mind, hands: Hands, pace: Pace
    ) -> None:
        pods, until = _to_ask(now_ms, fleet, mind, pace)
        fetching = mind.fetched.refresh(now_ms, spec, self.numbers) if spec else asyncio.sleep(0)
        polled, _ = await asyncio.gather(self.ports.poll(pods, hands.token), fetching)
        mind.unauthorized = polled.unauthorized and bool(hands.token)
        mind.watch.take(now_ms, polled.snapshots, until, until)
        if any(snapshot.rps > 0 for snapshot in polled.snapshots.values()):
            mind.called_ms = now_ms
        mind.acks.take(mind.watch, limiters(fleet), gateways(fleet))

    def _count(self, now_ms: int, mind: Mind, decisions: Mapping[str, Decision]) -> None:
        self.meters.decided_s = now_ms / 1000
        for name, decision in decisions.items():
            before, reason = mind.decisions.get(name), decision.record.reason
            if before is None or before.record.reason != reason:
                self.meters.decisions.inc(name, reason)
        mind.decisions = decisions

    async def _token(self, now_ms: int, api: Api, mind: Mind) -> str:
        refresh = mind.unauthorized and now_ms - mind.token_ms >= TOKEN_MS
        if refresh:
            mind.token_ms = now_ms
        return await self.backend.token(api, refresh=refresh)

    async def _tell(self, now_ms: int, api: Api, happened: list[Event]) -> None:
        for event in happened:
            if (admitted := self.events.admit(now_ms, api.key, event)) is not None:
                await self.backend.emit(api, admitted)


def _edges(before: Mapping[str, timetable.Timetable | None], mind: Mind) -> list[Event]:
    """Schedule entries that began or ended."""
    found: list[Event] = []
    for name, minded in mind.components.items():
        found += timetable.edges(name, before.get(name), minded.table) if minded.table else []
    return found


def _to_ask(now_ms: int, fleet: Fleet, mind: Mind, pace: Pace) -> tuple[list[Pod], dict[str, Ages]]:
    """Which pods this visit polls, and how long each live pod's answer counts."""
    asked: list[Pod] = []
    until: dict[str, Ages] = {}
    interval_ms = round(1000 * pace.stretch) if load_of(now_ms, fleet, mind).idle else 1000
    for name, workload in fleet.items():
        pods = [pod for pod in workload.pods if not pod.deleting]
        leaving = mind.components[name].victims if name in mind.components else {}
        asked += chosen(pods, pace.sample, mind.asked_ms, leaving, DRAWS)
        until |= dict.fromkeys((pod.uid for pod in pods), ages(interval_ms, rounds(len(pods), pace.sample)))
    now_asked = dict.fromkeys((pod.uid for pod in asked), now_ms)
    mind.asked_ms = {uid: at for uid, at in (mind.asked_ms | now_asked).items() if uid in until}
    return asked, until


def load_of(now_ms: int, fleet: Fleet, mind: Mind) -> Load:
    """What a visit to the object costs, and whether it may wait."""
    moving = any(m.victims for m in mind.components.values()) or (mind.record and mind.record.phase not in AT_REST)
    called = mind.called_ms is not None and now_ms - mind.called_ms < IDLE_MS
    idle = not moving and not called
    return Load(tuple(len(workload.pods) for workload in fleet.values()), idle)


async def _apply(
    now_ms: int, api: Api, fleet: Fleet, *, decisions: Mapping[str, Decision], mind: Mind, hands: Hands
) -> list[Event]:
    happened: list[Event] = []
    stale = frozenset(pod.uid for pod in mind.acks.unacked(mind.record or Record()))
    if not mind.swept:  # marks of a leader before us would choose for us
        mind.swept = True
        for name in decisions:
            await hands.backend.mark_victims(api, name, frozenset())
    named = {component.name for component in api.spec.components} if api.spec else set()
    for name in mind.components.keys() - named:  # not ours any more
        await let_go(mind.components.pop(name).victims.values(), hands.ports, hands.token, hands.backend.epoch)
        await hands.backend.mark_victims(api, name, frozenset())
    for name, decision in decisions.items():
        component = api.spec.component(name) if api.spec else None
        if component is not None:
            scene = Scene(now_ms, api, component, fleet, mind.watch, stale)
            happened += await carry_out(scene, decision, mind.components[name], hands)
    return happened
