"""What one tick knows, brought together as `Facts`: fresh snapshots, circuits over the fleet, who acknowledged what.

Caller: controller.visit, between acting and publishing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from services.controller import acks
from services.controller.backend import Api, Fleet, Pod, Record
from services.controller.budgets import Purse
from services.controller.facts import Facts
from services.controller.mind import Mind
from services.controller.overwrites import rivals
from services.core import circuits
from services.core.autoscale import Decision
from services.schema.snapshot import Snapshot

VERSION: Final = re.compile(r"(\d+)\.(\d+)")
STATES: Final[Mapping[str, circuits.State]] = {"open": "Open", "half-open": "HalfOpen", "closed": "Closed"}


def facts_of(
    now_ms: int,
    api: Api,
    fleet: Fleet,
    decisions: Mapping[str, Decision],
    mind: Mind,
    *,
    purse: Purse | None,
    message: str,
    version: str,
) -> Facts:
    """The facts of this tick; the circuits' memory goes on in `mind`."""
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
        version=version,
        purse=purse,
        rivals=_rivals(fleet, decisions, mind),
        denied=sorted(mind.denied.values()),
        old_pods=sorted(pod.name for _, pod in pods if _too_old(fresh[pod.uid], version)),
        tables={name: minded.table for name, minded in mind.components.items() if minded.table},
    )


def limiters(fleet: Fleet) -> list[Pod]:
    """Who enforces the document: ready gateways and balancers that stay."""
    workloads = [fleet[name] for name in ("gateway", "balancer") if name in fleet]
    return [pod for workload in workloads for pod in workload.pods if pod.ready and not pod.deleting]


def gateways(fleet: Fleet) -> frozenset[str]:
    """Uids of those that go first in a canary."""
    return frozenset(pod.uid for pod in fleet["gateway"].pods) if "gateway" in fleet else frozenset()


def _rivals(fleet: Fleet, decisions: Mapping[str, Decision], mind: Mind) -> dict[str, str]:
    contested = [name for name, decision in decisions.items() if decision.record.inputs.conflicted]
    return {name: rivals(fleet[name], mind.components[name].claim) for name in contested}


def _too_old(said: Snapshot | None, version: str) -> bool:
    """A pod more than one minor version behind; what is no version is not judged."""
    theirs, ours = (VERSION.match(text) for text in (said.version if said else "", version))
    if theirs is None or ours is None:
        return False
    (major, minor), (own_major, own_minor) = (tuple(map(int, found.groups())) for found in (theirs, ours))
    return (major, minor) < (own_major, own_minor - 1)


def _report(component: str, snapshot: Snapshot | None) -> circuits.Report:
    if snapshot is None:
        return circuits.Report(component, fresh=False)
    breakers = tuple(
        circuits.Breaker(b.name, STATES.get(b.state, "Closed"), b.since, b.reason, b.forced, b.retry_at)
        for b in snapshot.breakers
    )
    return circuits.Report(component, fresh=True, breakers=breakers)
