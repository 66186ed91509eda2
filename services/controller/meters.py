"""The controller's own series, all `operator_…` (operator.md §11), in both homes; the home adds its lease's and its API's.

Counters are cells that a visit raises; what stands for a moment is read from the objects' minds at scrape. Callers:
controller.loop and visit; `port` renders it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final

from services.controller.backend import Event, Pod
from services.controller.pods import Answer, ControlPorts, Polled
from services.runtime.metrics import Metrics

if TYPE_CHECKING:
    from services.controller.loop import Controller

OUTCOMES: Final[Mapping[int, str]] = {200: "ok", 401: "unauthorized", 409: "conflict", 422: "refused", 0: "mute"}
ROTATIONS: Final[Mapping[str, str]] = {
    "TiersRotated": "Enforced",
    "TiersRolledBack": "RolledBack",
    "TiersRejected": "Rejected",
}
COMPONENT: Final = ("namespace", "name", "component")
REPLICAS: Final = ("desired", "ready", "min", "max", "recommended")


class Meters:
    """Made once per controller; `metrics` is its registry, the process's own where that is the controller's alone."""

    def __init__(self, version: str, metrics: Metrics | None = None) -> None:
        self.metrics = metrics = metrics or Metrics("operator", version)
        self.visit = metrics.histogram("loop_seconds", "Duration of one visit to one object").series()
        self.to_write = metrics.histogram(
            "decision_to_write_seconds", "From the observation to the replicas written"
        ).series()
        self.ack = metrics.histogram("ack_seconds", "From a tiers document's turn until all have acknowledged").series()
        self.polls = metrics.counter("polls_total", "Snapshots asked for", ("outcome",))
        self.writes = metrics.counter("writes_total", "Writes that changed something", ("kind",))
        self.pushes = metrics.counter("pushes_total", "Tiers documents offered to a process", ("outcome",))
        self.drains = metrics.counter("drains_total", "Drains and un-drains asked of a process", ("outcome",))
        self.rotations = metrics.counter("rotations_total", "Tiers documents that reached an end", ("outcome",))
        self.errors = metrics.counter("reconcile_errors_total", "Visits that failed", ("where",))
        self.decisions = metrics.counter("decisions_total", "Decisions of another reason", ("component", "reason"))
        self.decided_s = 0.0

    def watch(self, controller: Controller) -> None:
        """Gauges of what the controller knows now."""
        gauge = self.metrics.gauge
        gauge("objects", "Objects that are managed", lambda: len(controller.minds))
        gauge("pods", "Processes that are watched", lambda: sum(len(m.asked_ms) for m in controller.minds.values()))
        gauge("poll_stretch", "Seconds between two visits of an idle object", lambda: controller.pace.stretch)
        gauge("last_decision_timestamp_seconds", "When anything was decided last", lambda: self.decided_s)
        gauge("observation_age_seconds", "Age of the oldest snapshot in use", lambda: _age(controller))
        gauge(
            "resource_condition",
            "1 for the status that a condition has",
            lambda: _conditions(controller),
            ("namespace", "name", "type", "status"),
        )
        for field in REPLICAS:
            read = _replicas(controller, field)
            gauge(f"component_replicas_{field}", f"Replicas: {field}", read, COMPONENT)
        gauge("component_in_panic", "A step of the load is being answered", _flags(controller, "in_panic"), COMPONENT)
        gauge("component_in_fallback", "No metric can be read", _flags(controller, "fallback"), COMPONENT)

    def wrote(self, started_s: float) -> Callable[[str], None]:
        """Counts the writes of a visit that began then, by `time.monotonic`."""

        def count(kind: str) -> None:
            self.writes.inc(kind)
            if kind == "scale":
                self.to_write.observe(time.monotonic() - started_s)

        return count

    def happened(self, events: Iterable[Event], waited_ms: int) -> None:
        """Rotations that ended, `waited_ms` after their document's turn."""
        for event in events:
            if outcome := ROTATIONS.get(event.reason):
                self.rotations.inc(outcome)
            if event.reason == "TiersRotated":
                self.ack.observe(waited_ms / 1000)


class MeteredPorts:
    """`ControlPorts` that counts what came of each call."""

    def __init__(self, ports: ControlPorts, meters: Meters) -> None:
        self._ports, self._meters = ports, meters

    async def poll(self, pods: Iterable[Pod], token: str) -> Polled:
        asked = list(pods)
        found = await self._ports.poll(asked, token)
        self._meters.polls.cell("ok").n += len(found.snapshots)
        missing = "unauthorized" if found.unauthorized else "mute"
        self._meters.polls.cell(missing).n += len(asked) - len(found.snapshots)
        return found

    async def push(self, pods: Iterable[Pod], token: str, epoch: int, document: bytes) -> Mapping[str, Answer]:
        answers = await self._ports.push(pods, token, epoch, document)
        for answer in answers.values():
            self._meters.pushes.inc(OUTCOMES.get(answer.status, "error"))
        return answers

    async def drain(self, pods: Iterable[Pod], token: str, epoch: int, *, on: bool) -> frozenset[str]:
        asked = list(pods)
        agreed = await self._ports.drain(asked, token, epoch, on=on)
        self._meters.drains.cell("ok").n += len(agreed)
        self._meters.drains.cell("mute").n += len(asked) - len(agreed)
        return agreed

    async def close(self) -> None:
        await self._ports.close()


def _age(controller: Controller) -> float:
    now_ms = controller.now_ms()
    seen = [seen.at_ms for mind in controller.minds.values() for seen in mind.watch.seen.values()]
    return max(0, now_ms - min(seen)) / 1000 if seen else 0.0


def _conditions(controller: Controller) -> dict[tuple[str, ...], float]:
    return {
        (mind.namespace, mind.name, kind, truth): 1.0
        for mind in controller.minds.values()
        for kind, truth, _since in mind.latest.conditions
    }


def _replicas(controller: Controller, field: str) -> Callable[[], dict[tuple[str, ...], float]]:
    at = REPLICAS.index(field)
    return lambda: {
        (mind.namespace, mind.name, name): float(counts[at])
        for mind in controller.minds.values()
        for name, *counts in mind.latest.replicas
    }


def _flags(controller: Controller, flag: str) -> Callable[[], dict[tuple[str, ...], float]]:
    return lambda: {
        (mind.namespace, mind.name, name): float(
            d.record.inputs.in_panic if flag == "in_panic" else d.record.inputs.fallback_replicas is not None
        )
        for mind in controller.minds.values()
        for name, d in mind.decisions.items()
    }
