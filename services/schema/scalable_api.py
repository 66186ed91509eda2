"""The `ScalableApi` a user writes (operator.md §1), and the sentences for one that cannot be accepted.

One model serves the laptop's manifest and the CRD (`schema.crd`). Its parts are `schema.component` and
`schema.spec_tiers`; their names are imported from here by everyone else. Durations and targets stay the text that was
written.

Callers: the controller (spec in force), the CLI (`up`, `apply`: E106).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import Field, ValidationError

from services.schema.component import Component, ComponentName, Count, Metric, Mode, ScaleDown, ScaleUp
from services.schema.documents import Document, DocumentError, Path, load
from services.schema.faults import Fault, dotted, faults_of
from services.schema.meaning import schedule_faults
from services.schema.quantities import LABEL, Bool, Label, duration_ms, target_milli
from services.schema.rules import Keyed, Rule, rule
from services.schema.spec_tiers import Tiers
from services.schema.tiers import BUILT_IN_ROUTES, BreakerPolicy, Int, RouteRule, Strict, TiersSpec

__all__ = [
    "PATH_ORDER",
    "Component",
    "ManifestError",
    "ManifestFault",
    "Metadata",
    "Metric",
    "ScalableApi",
    "ScalableApiSpec",
    "ScaleDown",
    "ScaleUp",
    "duration_ms",
    "load_manifest",
    "meaning_faults",
    "target_milli",
    "tiers_spec",
]

MAX_BYTES: Final = 256 * 1024
MAX_NAME: Final = 40
"""Leaves room for what is named after it: <name>-<component>, with a ReplicaSet's and a pod's suffix, in 63."""
PATH_ORDER: Final[tuple[ComponentName, ...]] = ("gateway", "balancer", "api")
"""The components this version runs, in the order of a request; each is the caller of the next."""


class Paused(Strict):
    """What must not move, whatever is measured."""

    scale_up: Bool = Field(default=False, description="No component grows.")
    scale_down: Bool = Field(default=False, description="No component shrinks.")
    tiers: Bool = Field(default=False, description="A changed tiers document waits.")


class TokenSecretRef(Strict):
    """The Secret with the bearer token of the processes' control ports."""

    name: Label | None = Field(None, description="Its name; absent: <name of this object>-control.")
    key: str = Field("token", min_length=1, max_length=63, description="Which of its keys.")


class Control(Strict):
    """How the controller speaks to the processes."""

    token_secret_ref: TokenSecretRef = Field(
        TokenSecretRef(), description="The Secret with the bearer token of the control ports."
    )


Weight = Annotated[int, Field(strict=True, ge=0, le=1000)]
_WEIGHT: Final = "Replica-hours that one hour of one of its replicas costs."


class Weights(Strict):
    """What a replica of each component costs."""

    gateway: Weight = Field(1, description=_WEIGHT)
    balancer: Weight = Field(1, description=_WEIGHT)
    api: Weight = Field(1, description=_WEIGHT)
    worker: Weight = Field(1, description=_WEIGHT)


class Budget(Strict):
    """What all components may use together."""

    max_replica_hours: Int = Field(ge=1, le=10_000_000, description="Weighted replica-hours per period.")
    per: Literal["Day", "Week", "Month"] = Field("Day", description="The period, in UTC; weeks begin on Monday.")
    on_exceeded: Literal["Report", "CapScaleUp"] = Field(
        "Report", description="Report: say so. CapScaleUp: increases are cut to what is left; nothing is lowered."
    )
    weights: Weights = Field(Weights(), description="What a replica of each component costs.")


class ScalableApiSpec(Strict):
    """What is wanted."""

    mode: Mode = Field("Auto", description="Auto acts, Recommend only shows what it would do, Manual sets replicas.")
    replicas: Count | None = Field(
        None, description="The api's count in mode Manual; what `kubectl scale` writes. Absent: it is held as it is."
    )
    paused: Paused = Field(Paused(), description="What must not move, whatever is measured.")
    control: Control = Field(Control(), description="How the controller speaks to the processes.")
    components: Annotated[tuple[Component, ...], Field(min_length=1, max_length=4), Keyed()] = Field(
        description="The parts to manage, each once; a part that is not listed is left alone."
    )
    tiers: Tiers = Field(Tiers(), description="Who may ask how much.")
    circuit_breaker: BreakerPolicy = Field(
        BreakerPolicy(), description="When the balancer stops sending to an endpoint, and how it tries again."
    )
    budget: Budget | None = Field(None, description="What all components may use together; absent: no budget.")

    @rule(
        "R14",
        "!has(self.replicas) || self.components.exists(c, c.name == 'api')",
        "replicas is the api's count, and components has no api; remove one",
        "replicas",
    )
    def _count_has_an_api(self) -> bool:
        return self.replicas is None or self.component("api") is not None

    def component(self, name: str) -> Component | None:
        """The component of that name, if it is managed."""
        return next((component for component in self.components if component.name == name), None)


class Metadata(Strict):
    """Who it is. Annotations carry `scalableapi.io/reconcile: disabled`."""

    name: Annotated[str, Field(pattern=LABEL, max_length=MAX_NAME)]  # R1
    namespace: Label | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class ScalableApi(Strict):
    """How one API platform is scaled, limited and protected."""

    TRANSITIONS: ClassVar = (
        Rule(
            "R1",
            f"self.metadata.name.size() <= {MAX_NAME}",
            f"metadata.name has at most {MAX_NAME} characters",
            "metadata.name",
        ),
    )

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
    if found := meaning_faults(api.spec):
        raise ManifestError(_placed(document, found))
    return api


def meaning_faults(spec: ScalableApiSpec) -> list[Fault]:
    """What types and rules cannot see: schedules that cannot be read, tiers that make no document."""
    found = list(schedule_faults(spec.components))
    try:
        tiers_spec(spec)
    except ValidationError as error:
        found += [Fault(("spec", "tiers"), fault.message) for fault in faults_of(error, TiersSpec)]
    return found


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
    """What the manifest says about limits and breakers, as the document's content; raises ValidationError.

    The document's models are the wider ones, so the manifest's are written out and read again.
    """
    tiers = spec.tiers.model_dump(
        include={"anonymous_tier", "default_tier", "definitions", "routes", "credential_failures"}
    )
    own = (RouteRule.model_validate(route) for route in tiers.pop("routes"))
    content = {"tiers": tiers.pop("definitions"), "routes": (*own, *BUILT_IN_ROUTES), "breaker": spec.circuit_breaker}
    return TiersSpec.model_validate(tiers | content)
