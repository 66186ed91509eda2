"""The `ScalableApi` a user writes (operator.md §1), and the sentences for one that cannot be accepted.

One model serves the laptop's manifest and, later, the generated CRD; each rule R1…R16 that CEL will state there has
its validator here. Durations and targets stay the text that was written; `duration_ms` and `target_milli` read them.

Callers: the controller (spec in force), the CLI (`up`, `apply`: E106).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, field_validator, model_validator

from services.schema.documents import Document, DocumentError, Path, load
from services.schema.faults import Fault, dotted, faults_of
from services.schema.tiers import (
    BUILT_IN_CREDENTIAL_FAILURES,
    BUILT_IN_ROUTES,
    BUILT_IN_TIERS,
    BreakerPolicy,
    Int,
    Policy,
    RouteRule,
    Strict,
    Tier,
    TiersSpec,
    Word,
)

MAX_BYTES: Final = 256 * 1024
MAX_REPLICAS: Final = 1000
_UNITS_MS: Final = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}
_DURATION: Final = re.compile(r"([0-9]{1,6}(ms|s|m|h)){1,4}")
_TARGET: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,3})?")

ComponentName = Literal["gateway", "balancer", "api", "worker"]
PATH_ORDER: Final[tuple[ComponentName, ...]] = ("gateway", "balancer", "api")
"""The components this version runs, in the order of a request; each is the caller of the next."""
Mode = Literal["Auto", "Recommend", "Manual"]
MetricType = Literal["InFlight", "RPS", "CPU", "P95Latency", "LoopLag"]
Select = Literal["Max", "Min", "Disabled"]
Bool = Annotated[bool, Field(strict=True)]
Label = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")]
Replicas = Annotated[int, Field(strict=True, ge=1, le=MAX_REPLICAS)]


def duration_ms(text: str) -> int:
    """`1m30s` → 90 000. The text has passed the model's pattern."""
    return sum(int(count) * _UNITS_MS[unit] for count, unit in re.findall(r"([0-9]+)(ms|s|m|h)", text))


def target_milli(target: int | str) -> int:
    """`20` → 20 000, `"1.5"` → 1500: loads are compared in thousandths."""
    whole, _, fraction = str(target).partition(".")
    return int(whole) * 1000 + int(fraction.ljust(3, "0") or 0)


def _between(low: str, high: str) -> Callable[[str], str]:
    def check(text: str) -> str:  # R15
        if len(text) > 16 or not _DURATION.fullmatch(text):
            raise ValueError(f"{text!r} is no duration; write like 500ms, 30s, 1m30s, 2h")
        if not duration_ms(low) <= duration_ms(text) <= duration_ms(high):
            raise ValueError(f"{text} is outside {low}…{high}")
        return text

    return check


def _target(value: Any) -> int | str:
    if isinstance(value, bool) or not isinstance(value, int | str):
        hint = f'; quote it: "{value}"' if isinstance(value, float) else ""
        raise ValueError(f"{value!r} is neither a whole number nor quoted text{hint}")  # noqa: TRY004  # pydantic's way
    if isinstance(value, str) and not _TARGET.fullmatch(value):
        raise ValueError(f"{value!r} is no number of at most 9 digits and 3 decimals")
    if not 0 < target_milli(value) <= 999_999_999_999:
        raise ValueError(f"{value} is outside 0.001…999999999")
    return value


def _unique(kind: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"{kind} {name!r} stands twice; remove or rename one")
        seen.add(name)


class Metric(Strict):
    """One signal and how much of it one replica should carry."""

    name: Annotated[Label, Field(max_length=32)]
    type: MetricType
    target: Annotated[Any, AfterValidator(_target)]  # R5


class Panic(Strict):
    """A short look at the load, for steps that the stable window would see too late."""

    window: Annotated[str, AfterValidator(_between("2s", "5m"))] = "6s"
    threshold_percent: Int = Field(default=200, ge=110, le=1000)


class ScalingPolicy(Strict):
    """At most `value` percent or pods of change within `period`."""

    type: Literal["Percent", "Pods"]
    value: Int = Field(ge=1, le=10_000)
    period: Annotated[str, AfterValidator(_between("1s", "30m"))]


class ScaleUp(Strict):
    """How quickly the count may grow."""

    tolerance_percent: Int = Field(default=5, ge=0, le=50)
    stabilization_window: Annotated[str, AfterValidator(_between("0s", "1h"))] = "0s"
    select: Select = "Max"
    policies: tuple[ScalingPolicy, ...] = Field(
        default=(
            ScalingPolicy(type="Percent", value=400, period="15s"),
            ScalingPolicy(type="Pods", value=8, period="15s"),
        ),
        max_length=4,
    )


class ScaleDown(Strict):
    """How quickly the count may shrink."""

    tolerance_percent: Int = Field(default=10, ge=0, le=50)
    stabilization_window: Annotated[str, AfterValidator(_between("0s", "1h"))] = "300s"
    select: Select = "Max"
    policies: tuple[ScalingPolicy, ...] = Field(
        default=(ScalingPolicy(type="Percent", value=50, period="15s"),), max_length=4
    )


class Behavior(Strict):
    """The windows and brakes of the decision (operator.md §5)."""

    stable_window: Annotated[str, AfterValidator(_between("6s", "1h"))] = "60s"
    panic: Panic = Panic()
    scale_up: ScaleUp = ScaleUp()
    scale_down: ScaleDown = ScaleDown()

    @model_validator(mode="after")
    def _windows(self) -> Self:
        if 2 * duration_ms(self.panic.window) > duration_ms(self.stable_window):  # R7
            raise ValueError(f"panic.window {self.panic.window} is over half of stableWindow {self.stable_window}")
        return self


class Drain(Strict):
    """How long a replica that goes may take to finish, and what its callers need to look away."""

    timeout: Annotated[str, AfterValidator(_between("0s", "30m"))] = "60s"
    settle: Annotated[str, AfterValidator(_between("0s", "60s"))] = "5s"


class Fallback(Strict):
    """What to run when no metric can be read."""

    after: Annotated[str, AfterValidator(_between("5s", "10m"))] = "30s"
    behavior: Literal["Hold", "HoldOrHigher"] = "HoldOrHigher"
    replicas: Replicas | None = None


class Component(Strict):
    """One scaled part of the platform."""

    name: ComponentName
    mode: Mode | None = None
    replicas: Annotated[int, Field(strict=True, ge=0, le=MAX_REPLICAS)] | None = None
    min_replicas: Replicas = 1
    max_replicas: Replicas = 10
    metrics: tuple[Metric, ...] = Field(default=(), max_length=8)
    behavior: Behavior = Behavior()
    drain: Drain = Drain()
    fallback: Fallback = Fallback()

    @model_validator(mode="after")
    def _rules(self) -> Self:
        _unique("metric", (metric.name for metric in self.metrics))
        if self.min_replicas > self.max_replicas:  # R2
            raise ValueError(
                f"minReplicas {self.min_replicas} is above maxReplicas {self.max_replicas}; lower the first"
            )
        if self.fallback.replicas and self.fallback.replicas > self.max_replicas:  # R3
            raise ValueError(
                f"fallback.replicas {self.fallback.replicas} is above maxReplicas {self.max_replicas}; lower it"
            )
        if self.name == "api" and self.replicas is not None:  # R4
            raise ValueError("the api's count is spec.replicas; move it there")
        if self.name == "worker" and any(metric.type != "CPU" for metric in self.metrics):  # R12
            raise ValueError("a worker is measured by CPU; remove its other metrics")
        return self


class Rotation(Strict):
    """How a changed document reaches the processes."""

    ack_timeout: Annotated[str, AfterValidator(_between("1s", "10m"))] = "30s"
    history_limit: Int = Field(default=3, ge=0, le=5)


class Tiers(Strict):
    """Who may ask how much; `definitions` is in rank order, `routes` stand before the document's own."""

    anonymous_tier: Word = "anonymous"
    default_tier: Word = "free"
    definitions: tuple[Tier, ...] = Field(default=BUILT_IN_TIERS, min_length=1, max_length=32)
    routes: tuple[RouteRule, ...] = Field(default=(), max_length=128)
    credential_failures: Policy = BUILT_IN_CREDENTIAL_FAILURES
    rotation: Rotation = Rotation()

    @model_validator(mode="after")
    def _rules(self) -> Self:
        names = [tier.name for tier in self.definitions]
        _unique("tier", names)
        for field, wanted in (("anonymousTier", self.anonymous_tier), ("defaultTier", self.default_tier)):
            if wanted not in names:  # R10
                raise ValueError(f"{field}: no tier is named {wanted!r}; write one of {', '.join(names)}")
        for tier in self.definitions:
            if len(tier.policies) > 4:
                raise ValueError(f"tier {tier.name!r} has {len(tier.policies)} policies; keep at most 4")
        of_routes = [rule.policy for rule in self.routes if rule.policy]
        for policy in (*(p for t in self.definitions for p in t.policies), *of_routes, self.credential_failures):
            if policy.name.endswith("-next") or len(policy.name) > 27:  # R16; a rotation adds -next
                raise ValueError(f"policy {policy.name!r}: at most 27 characters, and not ending in -next; rename it")
        return self


class Paused(Strict):
    """What must not move, whatever is measured."""

    scale_up: Bool = False
    scale_down: Bool = False
    tiers: Bool = False


class ScalableApiSpec(Strict):
    """The wish. `replicas` is the api's count in Manual."""

    mode: Mode = "Auto"
    replicas: Annotated[int, Field(strict=True, ge=0, le=MAX_REPLICAS)] | None = None
    paused: Paused = Paused()
    components: tuple[Component, ...] = Field(min_length=1, max_length=4)
    tiers: Tiers = Tiers()
    circuit_breaker: BreakerPolicy = BreakerPolicy()

    @field_validator("components")
    @classmethod
    def _names(cls, components: tuple[Component, ...]) -> tuple[Component, ...]:
        _unique("component", (component.name for component in components))
        return components

    @model_validator(mode="after")
    def _api_count(self) -> Self:
        if self.replicas is not None and all(component.name != "api" for component in self.components):  # R14
            raise ValueError("replicas is the api's count, and components has no api; remove one")
        return self

    def component(self, name: str) -> Component | None:
        """The component of that name, if it is managed."""
        return next((component for component in self.components if component.name == name), None)


class Metadata(Strict):
    """Who it is. Annotations carry `scalableapi.io/reconcile: disabled`."""

    name: Annotated[Label, Field(max_length=40)]  # R1
    namespace: Annotated[Label, Field(max_length=63)] | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class ScalableApi(Strict):
    """A manifest."""

    api_version: Literal["scalableapi.io/v1"]
    kind: Literal["ScalableApi"]
    metadata: Metadata
    spec: ScalableApiSpec


@dataclass(frozen=True, slots=True)
class ManifestFault:
    """One thing to put right: `line`, `column` from 1, 0 = not in the text; `nearest` is '' if no name is close."""

    line: int
    column: int
    path: str
    message: str
    expected: str = ""
    nearest: str = ""

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line else ""
        hint = f"; did you mean {self.nearest!r}?" if self.nearest else ""
        wanted = f"; expected {self.expected}" if self.expected else ""
        return f"{where}{self.path}: {self.message}{wanted}{hint}"


class ManifestError(ValueError):
    """The manifest cannot be accepted (E106). `faults` has at least one entry, in the text's order."""

    def __init__(self, faults: list[ManifestFault]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = faults

    @classmethod
    def of(cls, message: str) -> Self:
        """One fault without a place in the text."""
        return cls([ManifestFault(0, 0, "manifest", message)])


def load_manifest(raw: bytes) -> ScalableApi:
    """Read a manifest of at most 256 KiB; raises ManifestError. Its tiers are known to make a document."""
    try:
        document = load(raw, max_bytes=MAX_BYTES)
    except DocumentError as fault:
        where = dotted(fault.path)
        raise ManifestError([ManifestFault(fault.line, fault.column, where, fault.message)]) from None
    if not isinstance(document.value, dict):
        wanted = "an object with apiVersion, kind, metadata and spec"
        raise ManifestError([ManifestFault(1, 1, "document", "is no manifest", wanted)])
    try:
        api = ScalableApi.model_validate(document.value, by_alias=True, by_name=False)
    except ValidationError as error:
        raise ManifestError(_placed(document, faults_of(error, ScalableApi))) from None
    try:
        tiers_spec(api.spec)
    except ValidationError as error:
        found = [Fault(("spec", "tiers"), fault.message) for fault in faults_of(error, TiersSpec)]
        raise ManifestError(_placed(document, found)) from None
    return api


def _placed(document: Document, faults: list[Fault]) -> list[ManifestFault]:
    placed = [
        ManifestFault(*document.place(_written(document, fault.path)), dotted(fault.path), fault.message,
                      fault.expected, fault.nearest)
        for fault in faults
    ]  # fmt: skip
    return sorted(placed, key=lambda fault: (fault.line, fault.column))


def _written(document: Document, path: Path) -> Path:
    return path if path in document.places else path[:-1]


def tiers_spec(spec: ScalableApiSpec) -> TiersSpec:
    """What the manifest says about limits and breakers, as the document's content; raises ValidationError."""
    return TiersSpec(
        anonymous_tier=spec.tiers.anonymous_tier,
        default_tier=spec.tiers.default_tier,
        tiers=spec.tiers.definitions,
        routes=(*spec.tiers.routes, *BUILT_IN_ROUTES),
        credential_failures=spec.tiers.credential_failures,
        breaker=spec.circuit_breaker,
    )
