"""One component of a `ScalableApi`: what measures it, how quickly it may move, how its replicas leave (operator.md §1).

Every field has its sentence here: the CRD, `kubectl explain` and docs/reference are generated from it. Rules R2…R9
and R12 stand beside the fields they bind. Caller: schema.scalable_api; names are imported from there.

Longer than 200 lines because it is one object's declaration, most of it the fields' sentences.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from services.schema.quantities import Between, Label, ShortLabel, Target, duration_ms
from services.schema.rules import Keyed, Rule, rule
from services.schema.tiers import Int, Strict

MAX_REPLICAS: Final = 1000

ComponentName = Literal["gateway", "balancer", "api", "worker"]
Mode = Literal["Auto", "Recommend", "Manual"]
MetricType = Literal["InFlight", "RPS", "CPU", "QueueDepth", "P95Latency", "LoopLag", "Prometheus"]
Select = Literal["Max", "Min", "Disabled"]
Replicas = Annotated[int, Field(strict=True, ge=1, le=MAX_REPLICAS)]
Count = Annotated[int, Field(strict=True, ge=0, le=MAX_REPLICAS)]

_WORKERS_TYPES: Final = frozenset({"QueueDepth", "CPU", "Prometheus"})


class TargetRef(Strict):
    """The workload of this component."""

    kind: Literal["Deployment"] = Field("Deployment", description="Kind of the workload.")
    name: Label | None = Field(
        None, description="Its name, in the object's namespace; absent: <name of this object>-<component>."
    )


class PrometheusQuery(Strict):
    """Where a metric of type Prometheus comes from."""

    server: ShortLabel = Field(
        "default", description="A name from the operator's PROMETHEUS_SERVERS; never an address."
    )
    query: str = Field(min_length=1, max_length=1024, description="PromQL that gives exactly one number.")
    kind: Literal["Total", "Ratio"] = Field(
        "Total",
        description="Total: the number is the whole component's, and is divided by target. "
        "Ratio: it is an average that replicas don't share out.",
    )
    interval: Annotated[str, Between("5s", "5m")] = Field(
        "15s", description="Time between two fetches; an answer counts for three of them."
    )


class Metric(Strict):
    """One signal and how much of it one replica should carry."""

    name: ShortLabel = Field(description="Its name in status and explanations.")
    type: MetricType = Field(
        description="InFlight (requests), RPS (requests per second), CPU (percent of one core), QueueDepth (jobs), "
        "P95Latency and LoopLag (milliseconds), Prometheus (the query's unit)."
    )
    target: Target = Field(
        description="What one replica should carry, in the type's unit: above 0, at most 999999999; "
        'up to three decimals when quoted ("1.5").'
    )
    prometheus: PrometheusQuery | None = Field(None, description="The query; with type Prometheus, and only then.")

    @rule(
        "R6",
        "(self.type == 'Prometheus') == has(self.prometheus)",
        "prometheus stands with type Prometheus, and only then; add or remove it",
        "prometheus",
    )
    def _query(self) -> bool:
        return (self.type == "Prometheus") == (self.prometheus is not None)


class Panic(Strict):
    """A short look at the load, for steps that the stable window would see too late."""

    window: Annotated[str, Between("2s", "5m")] = Field(
        "6s", description="Over which the load is averaged; at most half of stableWindow."
    )
    threshold_percent: Int = Field(
        200, ge=110, le=1000, description="Need, in percent of the running replicas, at which panic begins."
    )


class ScalingPolicy(Strict):
    """At most `value` percent or pods of change within `period`."""

    type: Literal["Percent", "Pods"] = Field(description="Unit of value: percent of the replicas, or pods.")
    value: Int = Field(ge=1, le=10_000, description="Most change within one period, in percent or pods.")
    period: Annotated[str, Between("1s", "30m")] = Field(description="Length of the period.")


Policies = Annotated[tuple[ScalingPolicy, ...], Field(max_length=4)]
Tolerance = Annotated[int, Field(strict=True, ge=0, le=50)]
Stabilization = Annotated[str, Between("0s", "1h")]
_UP: Final = (
    ScalingPolicy(type="Percent", value=400, period="15s"),
    ScalingPolicy(type="Pods", value=8, period="15s"),
)
_DOWN: Final = (ScalingPolicy(type="Percent", value=50, period="15s"),)
_TOLERANCE: Final = "Percent of deviation from the target that moves nothing."
_SELECT: Final = "Which policy counts: Max the widest, Min the tightest, Disabled no move in this direction."
_POLICIES: Final = "Limits of the speed; an empty list is no limit."


class ScaleUp(Strict):
    """How quickly the count may grow."""

    tolerance_percent: Tolerance = Field(5, description=_TOLERANCE)
    stabilization_window: Stabilization = Field(
        "0s", description="The lowest need within this time is what the count may grow to."
    )
    select: Select = Field("Max", description=_SELECT)
    policies: Policies = Field(_UP, description=_POLICIES)


class ScaleDown(Strict):
    """How quickly the count may shrink."""

    tolerance_percent: Tolerance = Field(10, description=_TOLERANCE)
    stabilization_window: Stabilization = Field(
        "300s", description="The highest need within this time is what the count may shrink to."
    )
    select: Select = Field("Max", description=_SELECT)
    policies: Policies = Field(_DOWN, description=_POLICIES)


class Behavior(Strict):
    """The windows and brakes of the decision."""

    stable_window: Annotated[str, Between("6s", "1h")] = Field(
        "60s", description="Over which the load is averaged for an ordinary decision."
    )
    panic: Panic = Field(Panic(), description="When and how a step of the load is answered at once.")
    scale_up: ScaleUp = Field(ScaleUp(), description="How quickly the count may grow.")
    scale_down: ScaleDown = Field(ScaleDown(), description="How quickly the count may shrink.")

    @rule(
        "R7",
        "self.panic.window + self.panic.window <= self.stableWindow",
        "panic.window {self.panic.window} is over half of stableWindow {self.stable_window}; shorten the first",
        "panic.window",
    )
    def _windows(self) -> bool:
        return 2 * duration_ms(self.panic.window) <= duration_ms(self.stable_window)


class Drain(Strict):
    """How long a replica that goes may take to finish, and what its callers need to look away."""

    timeout: Annotated[str, Between("0s", "30m")] = Field(
        "60s", description="Longest wait for the requests in flight of a replica that goes."
    )
    settle: Annotated[str, Between("0s", "60s")] = Field(
        "5s", description="Longest wait until callers have stopped sending to it."
    )


class Fallback(Strict):
    """What to run when no metric can be read."""

    after: Annotated[str, Between("5s", "10m")] = Field(
        "30s", description="How long every metric must be missing before this acts."
    )
    behavior: Literal["Hold", "HoldOrHigher"] = Field(
        "HoldOrHigher",
        description="Hold: the current count. HoldOrHigher: the current count or replicas, whichever is more.",
    )
    replicas: Replicas | None = Field(
        None, description="Count for HoldOrHigher, at most maxReplicas; absent: the current count."
    )


class ScheduleEntry(Strict):
    """Other bounds at certain times."""

    name: ShortLabel = Field(description="Its name in status and Events.")
    cron: Annotated[str, Field(pattern=r"^[0-9*,/-]{1,24}( [0-9*,/-]{1,24}){4}$", max_length=124)] = Field(
        description="When it begins: minute, hour, day of month, month, day of week; numbers, *, ranges, lists, steps."
    )
    time_zone: Annotated[str, Field(pattern=r"^[A-Za-z0-9_+/-]{1,64}$", max_length=64)] = Field(
        "UTC", description="IANA name of the time zone that cron is read in."
    )
    duration: Annotated[str, Between("1m", "168h")] = Field(description="How long it lasts, in elapsed time.")
    min: Replicas | None = Field(None, description="Stands for minReplicas while it lasts; absent: unchanged.")
    max: Replicas | None = Field(None, description="Stands for maxReplicas while it lasts; absent: unchanged.")

    @rule("R9", "has(self.min) || has(self.max)", "changes nothing: write min, max or both")
    def _something(self) -> bool:
        return self.min is not None or self.max is not None

    @rule(
        "R9",
        "!has(self.min) || !has(self.max) || self.min <= self.max",
        "min {self.min} is above max {self.max}; lower the first",
        "min",
    )
    def _ordered(self) -> bool:
        return self.min is None or self.max is None or self.min <= self.max


class Component(Strict):
    """One scaled part of the platform."""

    TRANSITIONS: ClassVar = (
        Rule(
            "R8",
            "!has(self.targetRef) || !has(oldSelf.targetRef) || self.targetRef == oldSelf.targetRef",
            "targetRef cannot change: remove the component, then add it anew",
            "targetRef",
        ),
    )

    name: ComponentName = Field(description="Which part: gateway, balancer, api or worker.")
    target_ref: TargetRef | None = Field(
        None, description="Its workload; absent: Deployment <name of this object>-<component>. It cannot change."
    )
    mode: Mode | None = Field(
        None, description="Overrides spec.mode here: Auto acts, Recommend only shows, Manual sets replicas."
    )
    replicas: Count | None = Field(
        None, description="Count in mode Manual; absent: it is held as it is. The api's is spec.replicas."
    )
    min_replicas: Replicas = Field(1, description="Fewest replicas, at most maxReplicas.")
    max_replicas: Replicas = Field(10, description="Most replicas.")
    metrics: Annotated[tuple[Metric, ...], Field(max_length=8), Keyed()] = Field(
        (), description="What measures it; the one that asks for most counts. None: the component's usual ones."
    )
    behavior: Behavior = Field(Behavior(), description="How quickly and how far the count moves.")
    drain: Drain = Field(Drain(), description="How a replica that goes takes its leave.")
    fallback: Fallback = Field(Fallback(), description="What to run when no metric can be read.")
    schedule: Annotated[tuple[ScheduleEntry, ...], Field(max_length=16), Keyed()] = Field(
        (), description="Other bounds at certain times; of two at once the later entry counts, field by field."
    )

    @rule(
        "R2",
        "self.minReplicas <= self.maxReplicas",
        "minReplicas {self.min_replicas} is above maxReplicas {self.max_replicas}; lower the first",
        "minReplicas",
    )
    def _floor_below_cap(self) -> bool:
        return self.min_replicas <= self.max_replicas

    @rule(
        "R3",
        "!has(self.fallback.replicas) || self.fallback.replicas <= self.maxReplicas",
        "fallback.replicas {self.fallback.replicas} is above maxReplicas {self.max_replicas}; lower the first",
        "fallback.replicas",
    )
    def _fallback_below_cap(self) -> bool:
        return self.fallback.replicas is None or self.fallback.replicas <= self.max_replicas

    @rule(
        "R4",
        "self.name != 'api' || !has(self.replicas)",
        "the api's count is spec.replicas; move it there",
        "replicas",
    )
    def _count_of_the_api(self) -> bool:
        return self.name != "api" or self.replicas is None

    @rule(
        "R12",
        "!has(self.metrics) || self.metrics.all(m, self.name == 'worker' ? m.type in ['QueueDepth','CPU','Prometheus']"
        " : m.type != 'QueueDepth')",
        "a worker is measured by QueueDepth, CPU or Prometheus, and only a worker by QueueDepth; change the type",
        "metrics",
    )
    def _measurable(self) -> bool:
        types = {metric.type for metric in self.metrics}
        return types <= _WORKERS_TYPES if self.name == "worker" else "QueueDepth" not in types
