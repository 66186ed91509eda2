"""What is installed in a cluster, asked through kubectl: the CRD, and per ScalableApi what its conditions say. A request of our
own is not made from here: `helm test` does that from inside (chain.py).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from services.cli.checks import before
from services.cli.checks.finding import Finding, Mark, permitted
from services.cli.commands.waiting import observed
from services.cli.targets import kubectl
from services.cli.targets.cluster import Cluster
from services.cli.targets.kubectl import KIND, Where
from services.schema.status import StoredObject

LEASE: Final = "scalable-api-operator"
FRESH_S: Final = 15.0
"""A leader renews every 1.5 s; another takes over within this."""
GOOD: Final = {"Ready": "True", "Accepted": "True", "Available": "True", "TiersEnforced": "True", "Stalled": "False"}
"""Without these it does not do what it is asked."""
LOOK: Final = {"CircuitsClosed": "True", "Degraded": "False", "Paused": "False"}
NEXT: Final = {
    "Accepted": "put the field right that it names",
    "Available": "kubectl get pods; kubectl describe the ones that are not Ready",
    "TiersEnforced": "kubectl scalableapi tiers",
    "CircuitsClosed": "kubectl scalableapi breakers",
    "Paused": "kubectl scalableapi resume",
}
ELSE: Final = "kubectl scalableapi status -v"


def look(where: Where) -> list[Finding]:
    return [
        permitted("Cluster", "CRD", lambda: before.definition(before.found(where, "crd", KIND))),
        permitted("Operator", "leader", lambda: leader(_leases(where), time.time())),
        *judged(Cluster(where).objects()),
    ]


def _leases(where: Where) -> list[Any]:
    """In every namespace: where the operator lives is its installer's choice."""
    selector = f"--field-selector=metadata.name={LEASE}"
    return list(json.loads(kubectl.ask(where, "get", "leases", "-A", selector, "-o", "json"))["items"])


def leader(leases: Sequence[Any], now: float) -> Finding:
    """One operator that renews its Lease; its clock and ours differ by less than the slack."""
    held = [lease["spec"] for lease in leases if lease["spec"].get("holderIdentity")]
    fresh = [spec for spec in held if abs(now - _seconds(spec.get("renewTime", ""))) < FRESH_S]
    if fresh:
        return Finding("Operator", "leader", Mark.good, ", ".join(str(spec["holderIdentity"]) for spec in fresh))
    text = "none renews its Lease" if leases else "no Lease: the operator is not installed"
    return Finding(
        "Operator", "leader", Mark.bad, text, "kubectl get pods -A -l app.kubernetes.io/name=scalable-api-operator"
    )


def _seconds(time_of: str) -> float:
    return datetime.fromisoformat(time_of).timestamp() if time_of else 0.0


def judged(found: Sequence[StoredObject]) -> Iterator[Finding]:
    """Each object by its conditions; the good ones in one line."""
    if not found:
        fix = "kubectl scalableapi apply -f manifests/samples/minimal.yaml, or the platform's chart"
        yield Finding("ScalableApis", "none", Mark.bad, "there is none in this namespace", fix)
    for one in found:
        name = one.metadata.name
        wrong = [finding for finding in _conditions(one) if finding.mark is not Mark.good]
        if not observed(one) or not one.status.conditions:
            text = "no operator has looked at this spec"
            yield Finding("ScalableApis", name, Mark.bad, text, "does the operator watch this namespace?")
        elif not wrong:
            yield Finding("ScalableApis", name, Mark.good, _summary(one))
        yield from wrong


def _conditions(one: StoredObject) -> Iterator[Finding]:
    """Those that count; Ready only where no other that fails tells why."""
    odd = {c.type: c for c in one.status.conditions if c.status != {**GOOD, **LOOK}.get(c.type, c.status)}
    if odd.keys() & GOOD.keys() - {"Ready"}:
        odd.pop("Ready", None)
    for kind, condition in odd.items():
        told = f": {condition.message}" if condition.message else ""
        text = f"{kind} is {condition.status}, {condition.reason}{told}"
        yield Finding(
            "ScalableApis", one.metadata.name, Mark.bad if kind in GOOD else Mark.look, text, NEXT.get(kind, ELSE)
        )


def _summary(one: StoredObject) -> str:
    summary = one.status.summary
    cells = (
        f"gateway {summary.gateway}",
        f"balancer {summary.balancer}",
        f"api {summary.api}",
        f"tiers {summary.tiers}",
    )
    return ", ".join(cells)
