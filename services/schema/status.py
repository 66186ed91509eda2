"""A `ScalableApi`'s status (operator.md §2): what the controller writes and `status`, `get`, `explain` show.

Every field is declared, so a round trip through JSON loses nothing. Nothing in it is read back as truth. Text is cut
at its bound, never refused: a long name that some pod reports must not keep the rest from being written.

Longer than 200 lines because it is one document, read from the bottom up. The CRD's status schema is generated from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler
from pydantic_core import CoreSchema

from services.schema.rules import Keyed
from services.schema.scalable_api import Metadata, ScalableApiSpec
from services.schema.tiers import Strict


def _cut(length: int) -> BeforeValidator:
    return BeforeValidator(lambda text: text[:length] if isinstance(text, str) else text)


@dataclass(frozen=True, slots=True)
class _DateTime:
    """Marks our own clock's RFC 3339 text for the API server."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return handler(schema) | {"format": "date-time"}


Word = Annotated[str, Field(max_length=32), _cut(32)]
Cell = Annotated[str, Field(max_length=32), _cut(32)]
Hash = Annotated[str, Field(max_length=71), _cut(71)]
Name = Annotated[str, Field(max_length=253), _cut(253)]
Message = Annotated[str, Field(max_length=256), _cut(256)]
Time = Annotated[str, Field(max_length=35), _DateTime()]
Heard = Annotated[str, Field(max_length=35), _cut(35)]
"""A time that a pod reports."""
Count = Annotated[int, Field(ge=0, le=2**53)]
Percent = Annotated[int, Field(ge=0, le=100)]

Truth = Literal["True", "False", "Unknown"]
Phase = Literal[
    "Active", "Scheduled", "Shadowing", "Canary", "RollingOut", "RollingBack", "RolledBack", "Rejected", "Paused"
]
Outcome = Literal["Enforced", "RolledBack", "NoTraffic", "Superseded"]


class Condition(Strict):
    """One yes-or-no about the object; `last_transition_time` moves only with `status`."""

    type: Word = Field(description="What it is about.")
    status: Truth = Field(description="True, False or Unknown.")
    reason: Word = Field(description="Why, in one word.")
    message: Message = Field("", description="Why, for people.")
    observed_generation: Count = Field(0, description="Generation of the spec it was judged by.")
    last_transition_time: Time = Field("", description="When status changed last.")


_CELL: Final = "Ready/current replicas, →desired while they differ; - = not managed."


class Summary(Strict):
    """Cells of `kubectl get`."""

    gateway: Cell = Field("-", description=_CELL)
    balancer: Cell = Field("-", description=_CELL)
    api: Cell = Field("-", description=_CELL)
    worker: Cell = Field("-", description=_CELL)
    tiers: Cell = Field("-", description="Revision of the tiers document and acknowledged/live processes.")
    circuits: Cell = Field("unknown", description="closed, or how many are open; unknown while nothing is heard.")
    budget: Cell = Field("-", description="Used/allowed replica-hours of the period; - = no budget.")
    paused: Cell = Field("-", description="Which of up, down, tiers are paused.")


class DecisionInputs(Strict):
    """All that the steps of a decision looked at, beside the metrics."""

    mode: Word = Field(description="Mode in force.")
    paused: Word = Field("", description="Paused directions: up, down.")
    ready: Count = Field(description="Replicas that are ready.")
    starting: Count = Field(description="Replicas that start.")
    pending: Count = Field(description="Replicas without a place to run.")
    draining: Count = Field(description="Replicas on their way out.")
    min: Count = Field(description="Floor in force.")
    max: Count = Field(description="Cap in force.")
    tolerance_down: Count = Field(description="Percent below the target that moves nothing.")
    tolerance_up: Count = Field(description="Percent above the target that moves nothing.")
    up_limit: Count = Field(description="Most replicas that policies allowed.")
    down_limit: Count = Field(description="Fewest replicas that policies allowed.")
    held_up: Count | None = Field(None, description="Most that stabilization allowed; absent: no bound.")
    held_down: Count = Field(0, description="Fewest that stabilization allowed.")
    latch: Count = Field(0, description="Result of the decrease that is being carried out; 0 = none.")
    budget_cap: Count | None = Field(None, description="Most replicas that the budget allowed; absent: no bound.")
    panic_floor: Count = Field(0, description="Highest need since panic began; 0 = no panic.")
    in_panic: bool = Field(default=False, description="A step of the load was being answered.")
    settling: bool = Field(default=False, description="The watch was too young to lower anything.")
    stuck: bool = Field(default=False, description="Replicas did not start.")
    rollout: bool = Field(default=False, description="The workload's rollout was unfinished.")
    conflicted: bool = Field(default=False, description="Someone else scaled the workload.")
    ratio_held: bool = Field(default=False, description="Averages waited for starting replicas.")
    fallback_replicas: Count | None = Field(None, description="Count of the fallback, while it acted.")
    manual_replicas: Count | None = Field(None, description="Count of mode Manual, while it acted.")
    scheduled: Word = Field("", description="Which of floor, cap come from the schedule.")


class DecisionMetric(Strict):
    """One metric's windows, in its unit, at the moment of the decision."""

    name: Word = Field(description="The metric's name.")
    kind: Literal["sum", "ratio"] = Field("sum", description="sum: loads add up over replicas; ratio: they don't.")
    stable: Word = Field(description="Mean over stableWindow.")
    high: Word = Field(description="The same, with replicas that were not heard counted at the target.")
    panic: Word = Field(description="Mean over panic.window.")
    recent: Word = Field(description="Mean over two seconds.")
    target: Word = Field(description="What one replica should carry.")
    coverage: Word = Field(description="Replicas heard/ready.")
    missing: bool = Field(default=False, description="Nothing could be said.")
    proposal: Count = Field(description="Replicas it asked for.")


class DecisionStep(Strict):
    """A rule that changed the number."""

    rule: Word = Field(description="Which rule.")
    before: Count = Field(description="Replicas before it.")
    after: Count = Field(description="Replicas after it.")


class LastDecision(Strict):
    """Enough to compute the decision again: `from` → `final`."""

    time: Time = Field(description="When.")
    generation: Count = Field(description="Generation of the spec.")
    from_: Count = Field(alias="from", description="Replicas before.")
    raw: Count = Field(description="What the metrics asked for.")
    final: Count = Field(description="What was decided.")
    recommended: Count = Field(description="What mode Auto would have decided.")
    direction: Literal["Up", "Down", "None"] = Field(description="Up, Down or None.")
    reason: Word = Field(description="Why, in one word.")
    not_before: Time | None = Field(None, description="Earliest decrease.")
    inputs: DecisionInputs = Field(description="What the steps looked at.")
    metrics: Annotated[tuple[DecisionMetric, ...], Field(max_length=8)] = Field((), description="The metrics.")
    steps: Annotated[tuple[DecisionStep, ...], Field(max_length=11)] = Field(
        (), description="Rules that changed the number, in their order."
    )


class Change(Strict):
    """One past change of a component's count."""

    time: Time = Field(description="When.")
    from_: Count = Field(alias="from", description="Replicas before.")
    to: Count = Field(description="Replicas after.")
    reason: Word = Field(description="Why, in one word.")
    metric: Word = Field("", description="The metric that asked for most.")


class NextSchedule(Strict):
    """The next edge of the schedule."""

    name: Word = Field(description="The entry.")
    at: Time = Field(description="When it begins or ends.")
    min: Count = Field(description="Floor from then on.")
    max: Count = Field(description="Cap from then on.")


class ComponentStatus(Strict):
    """One component: what runs, what is wanted, why."""

    name: Word = Field(description="Which component.")
    mode: Word = Field(description="Mode in force.")
    target: Name = Field(description="Kind/name of its workload; - = not found.")
    desired: Count = Field(0, description="Replicas decided on.")
    current: Count = Field(0, description="Replicas there are.")
    ready: Count = Field(0, description="Replicas that are ready.")
    starting: Count = Field(0, description="Replicas that start.")
    draining: Count = Field(0, description="Replicas on their way out.")
    in_panic: bool = Field(default=False, description="A step of the load is being answered.")
    recommended: Count = Field(0, description="What mode Auto would decide.")
    min: Count = Field(0, description="Floor in force.")
    max: Count = Field(0, description="Cap in force.")
    last_scale_time: Time | None = Field(None, description="When its count changed last.")
    next_schedule: NextSchedule | None = Field(None, description="The next edge of its schedule.")
    last_decision: LastDecision | None = Field(None, description="The last decision, with all that it was based on.")
    decisions: Annotated[tuple[Change, ...], Field(max_length=10)] = Field((), description="Changes, newest first.")


class TierPods(Strict):
    """Live gateways and balancers, and how many of them enforce the active hash."""

    total: Count = Field(0, description="Live ones.")
    acked: Count = Field(0, description="Those that acknowledged the active document.")
    stale: Annotated[tuple[Name, ...], Field(max_length=10)] = Field(
        (), description="Names of those that have not, after ackTimeout."
    )


class PendingTiers(Strict):
    """The document that waits for its moment."""

    revision: Count = Field(description="Its revision.")
    hash: Hash = Field(description="Its hash.")
    at: Time | None = Field(None, description="Its moment; absent: not known (paused).")


class CanaryTiers(Strict):
    """The canary that runs."""

    pods: Annotated[tuple[Name, ...], Field(max_length=10)] = Field((), description="Gateways that went first.")
    since: Time = Field(description="When it began.")
    requests: Count = Field(0, description="Requests on the canaries.")
    reject_percent: Percent = Field(0, description="Percent of them refused.")
    baseline_reject_percent: Percent = Field(0, description="Percent refused by the other gateways.")


class ShadowTiers(Strict):
    """What a document in Audit would have done; refreshed once a minute."""

    requests: Count = Field(0, description="Requests looked at.")
    would_reject_percent: Percent = Field(0, description="Percent of them it would have refused.")


class TierHistory(Strict):
    """A document that was in force before."""

    revision: Count = Field(description="Its revision.")
    hash: Hash = Field(description="Its hash.")
    at: Time = Field(description="Since when it was in force.")
    outcome: Outcome = Field(description="What became of it.")


class TiersStatus(Strict):
    """The rotation of the tiers document."""

    phase: Phase = Field("Active", description="Where the rotation stands.")
    active_revision: Count = Field(0, description="Revision in force.")
    active_hash: Hash = Field("", description="Hash in force.")
    previous_revision: Count = Field(0, description="Revision before it; 0 = none.")
    applied_at: Time | None = Field(None, description="Since when it is in force.")
    failed_hash: Hash = Field(
        "", description="Hash that was rolled back; it is not tried again until the spec changes."
    )
    message: Message = Field("", description="What the rotation waits for, or why it went back.")
    pods: TierPods = Field(TierPods(), description="Who enforces it.")
    pending: PendingTiers | None = Field(None, description="The document that waits.")
    canary: CanaryTiers | None = Field(None, description="Only in phase Canary.")
    shadow: ShadowTiers | None = Field(None, description="Only in phase Shadowing.")
    history: Annotated[tuple[TierHistory, ...], Field(max_length=5)] = Field(
        (), description="Documents before, newest first."
    )


class Circuit(Strict):
    """A breaker that is not closed, over all processes that know it."""

    name: Name = Field(description="Endpoint or dependency.")
    component: Word = Field(description="Whose breaker.")
    state: Literal["Open", "HalfOpen", "Closed"] = Field(description="The worst state.")
    pods: Word = Field(description="Processes in which it is not closed/that know it.")
    since: Heard = Field(description="Since when, the oldest (RFC 3339).")
    reason: Annotated[str, Field(max_length=64), _cut(64)] = Field("", description="Why it opened.")
    retry_at: Heard | None = Field(None, description="The next attempt, the earliest (RFC 3339).")


class Circuits(Strict):
    """Every breaker, counted; the ones not closed, listed."""

    open: Count = Field(0, description="Open ones.")
    half_open: Count = Field(0, description="Half-open ones.")
    total: Count = Field(0, description="All that are known.")
    observed_pods: Word = Field("0/0", description="Processes heard/live.")
    items: Annotated[tuple[Circuit, ...], Field(max_length=32)] = Field((), description="The ones not closed.")


class BudgetStatus(Strict):
    """The budget as a line: used(t) = used + perHour · (t - asOf)."""

    start: Time = Field(description="Begin of the period.")
    end: Time = Field(description="End of the period.")
    as_of: Time = Field(description="Moment of used.")
    used: Count = Field(description="Replica-hours used until asOf.")
    per_hour: Count = Field(description="Replica-hours per hour since then.")
    projected: Count = Field(description="Replica-hours at the end, if nothing changes.")
    state: Literal["Ok", "Warning", "Capped"] = Field(description="Warning from 80 percent; Capped while it cuts.")


class Status(Strict):
    """What the controller sees and does."""

    observed_generation: Count = Field(0, description="Generation of the spec that the rest is about.")
    conditions: Annotated[tuple[Condition, ...], Field(max_length=12), Keyed("type")] = Field(
        (), description="Yes-or-no statements, sorted by type."
    )
    summary: Summary = Field(Summary(), description="Cells of `kubectl get`.")
    replicas: Count = Field(0, description="The api's current replicas; read by `kubectl scale` and an HPA.")
    selector: Annotated[str, Field(max_length=512)] = Field("", description="The api's pods, as a label selector.")
    last_scale_time: Time | None = Field(None, description="When a count changed last.")
    controller_version: Word = Field("", description="Version of the controller that wrote this.")
    components: Annotated[tuple[ComponentStatus, ...], Field(max_length=4), Keyed()] = Field(
        (), description="One entry per component."
    )
    tiers: TiersStatus = Field(TiersStatus(), description="The rotation of the tiers document.")
    circuits: Circuits = Field(Circuits(), description="Breakers of all processes.")
    budget: BudgetStatus | None = Field(None, description="Use of the budget; absent: no budget.")

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
