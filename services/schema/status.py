"""A `ScalableApi`'s status (operator.md §2): what the controller writes and `status`, `get`, `explain` show.

Every field is declared, so a round trip through JSON loses nothing. Nothing in it is read back as truth.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from services.schema.scalable_api import Metadata, ScalableApiSpec
from services.schema.tiers import Strict

Truth = Literal["True", "False", "Unknown"]
Phase = Literal["Active", "RollingOut", "RollingBack", "RolledBack", "Rejected", "Paused"]


class Condition(Strict):
    """One yes-or-no about the object; `last_transition_time` moves only with `status`."""

    type: str
    status: Truth
    reason: str
    message: str = Field(default="", max_length=256)
    observed_generation: int = 0
    last_transition_time: str = ""


class Summary(Strict):
    """Cells of `get`: ready/current, →desired while they differ; `-` = not managed."""

    gateway: str = "-"
    balancer: str = "-"
    api: str = "-"
    worker: str = "-"
    tiers: str = "-"
    circuits: str = "unknown"
    paused: str = "-"


class DecisionInputs(Strict):
    """All that steps 2…11 looked at, beside the metrics."""

    mode: str
    paused: str = ""
    ready: int
    starting: int
    pending: int
    draining: int
    min: int
    max: int
    tolerance_down: int
    tolerance_up: int
    up_limit: int
    down_limit: int
    held_up: int | None = None
    held_down: int = 0
    latch: int = 0
    panic_floor: int = 0
    in_panic: bool = False
    settling: bool = False
    stuck: bool = False
    rollout: bool = False
    conflicted: bool = False
    ratio_held: bool = False
    fallback_replicas: int | None = None
    manual_replicas: int | None = None


class DecisionMetric(Strict):
    """One metric's windows, in its unit, at the moment of the decision. `high` counts what is missing at the target."""

    name: str
    kind: Literal["sum", "ratio"] = "sum"
    stable: str
    high: str
    panic: str
    recent: str
    target: str
    coverage: str
    missing: bool = False
    proposal: int


class DecisionStep(Strict):
    """A rule that changed the number."""

    rule: str
    before: int
    after: int


class LastDecision(Strict):
    """Enough to compute the decision again: `from` → `final`."""

    time: str
    generation: int
    from_: int = Field(alias="from")
    raw: int
    final: int
    recommended: int
    direction: Literal["Up", "Down", "None"]
    reason: str
    not_before: str | None = None
    inputs: DecisionInputs
    metrics: tuple[DecisionMetric, ...] = ()
    steps: tuple[DecisionStep, ...] = ()


class Change(Strict):
    """One past change of a component's count."""

    time: str
    from_: int = Field(alias="from")
    to: int
    reason: str
    metric: str = ""


class ComponentStatus(Strict):
    """One component: what runs, what is wanted, why."""

    name: str
    mode: str
    target: str
    desired: int = 0
    current: int = 0
    ready: int = 0
    starting: int = 0
    draining: int = 0
    in_panic: bool = False
    recommended: int = 0
    min: int = 0
    max: int = 0
    last_scale_time: str | None = None
    last_decision: LastDecision | None = None
    decisions: tuple[Change, ...] = ()


class TierPods(Strict):
    """Live gateways and balancers, and how many of them enforce the active hash."""

    total: int = 0
    acked: int = 0
    stale: tuple[str, ...] = ()


class TierHistory(Strict):
    """A document that was in force before."""

    revision: int
    hash: str
    at: str
    outcome: Literal["Enforced", "RolledBack", "Superseded"]


class TiersStatus(Strict):
    """The rotation of the tiers document."""

    phase: Phase = "Active"
    active_revision: int = 0
    active_hash: str = ""
    previous_revision: int = 0
    applied_at: str | None = None
    failed_hash: str = ""
    message: str = ""
    pods: TierPods = TierPods()
    history: tuple[TierHistory, ...] = ()


class Circuit(Strict):
    """A breaker that is not closed, over all processes that know it."""

    name: str
    component: str
    state: Literal["Open", "HalfOpen", "Closed"]
    pods: str
    since: str
    reason: str = ""
    retry_at: str | None = None


class Circuits(Strict):
    """Every breaker, counted; the ones not closed, listed."""

    open: int = 0
    half_open: int = 0
    total: int = 0
    observed_pods: str = "0/0"
    items: tuple[Circuit, ...] = ()


class Status(Strict):
    """The whole status."""

    observed_generation: int = 0
    conditions: tuple[Condition, ...] = ()
    summary: Summary = Summary()
    replicas: int = 0
    selector: str = ""
    last_scale_time: str | None = None
    controller_version: str = ""
    components: tuple[ComponentStatus, ...] = ()
    tiers: TiersStatus = TiersStatus()
    circuits: Circuits = Circuits()

    def condition(self, kind: str) -> Condition | None:
        """The condition of that type."""
        return next((condition for condition in self.conditions if condition.type == kind), None)


class ObjectMetadata(Metadata):
    """Metadata with what the controller added."""

    uid: str = ""
    generation: int = 0
    creation_timestamp: str = ""


class StoredObject(Strict):
    """The local state file: the object as `kubectl get -o json` shows it; `spec` is None until one was accepted."""

    api_version: str = "scalableapi.io/v1"
    kind: str = "ScalableApi"
    metadata: ObjectMetadata
    spec: ScalableApiSpec | None = None
    status: Status = Status()
