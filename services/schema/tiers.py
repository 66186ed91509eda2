"""The tiers document: who may ask how much (contract.md §5), and the breaker policy the balancer follows.

One document is in force in every gateway and balancer at a time; its `hash` is how a process says which. The
controller renders it from a `ScalableApi` and pushes it (`render`), each process reads it from a file or a push
(`parse`), and without either it runs `BUILT_IN`. What `parse` lets through can be enforced: every name resolves,
every cost can be admitted, every product stays exact in the limiter's doubles.

Callers: runtime.tiers (holder), gateway, balancer, api's admin routes, controller.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Annotated, Any, Final, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.alias_generators import to_camel

from services.schema.documents import DocumentError, load
from services.schema.faults import dotted, faults_of
from services.schema.rules import rule

MAX_BYTES: Final = 64 * 1024
MAX_QUOTA_WINDOW_MS: Final = 2**53
"""The limiter's script counts in doubles: `quota * window_ms` has to be exact."""
MAX_LOG_QUOTA: Final = 1000
"""`log` keeps one entry per admitted request."""
DAY_S: Final = 86_400
OVERRIDE_NAMES: Final = frozenset({"override", "override-burst"})
"""Names of the policies a `rate_limit_configs` row becomes (contract.md §5)."""

Algorithm = Literal["sliding", "gcra", "calendar", "log"]
Mode = Literal["enforce", "shadow", "off"]
OnStoreFailure = Literal["local", "open", "closed"]
Criticality = Literal["sheddable", "sheddable-plus", "critical", "critical-plus"]
Int = Annotated[int, Field(strict=True)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
WORD: Final = r"^[a-z][a-z0-9-]*$"
Word = Annotated[str, Field(pattern=WORD, max_length=32)]
Match = Annotated[str, Field(min_length=3, max_length=256)]


class TiersRefusedError(ValueError):
    """The text is no document that could be enforced. Each of `errors` names a field and what would be right."""

    def __init__(self, errors: list[str]) -> None:
        super().__init__("; ".join(errors))
        self.errors = errors


class Strict(BaseModel):
    """Frozen, camelCase in documents, snake_case in code; a name nobody knows is refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, validate_by_name=True, validate_by_alias=True
    )


def _usual_algorithm(data: dict[str, Any]) -> Algorithm:
    """A one-second window is a burst: GCRA spreads it; a longer one is a sliding counter."""
    return "gcra" if data["window"] == 1 else "sliding"


class Policy(Strict):
    """`quota` units per `window` seconds, for each identifier by itself."""

    name: Word = Field(description="Its name in counters and answers; unique in the document.")
    quota: Int = Field(ge=1, le=1_000_000_000, description="Units that may be spent in one window.")
    window: Int = Field(ge=1, le=DAY_S, description="Length of the window, in seconds.")
    algorithm: Algorithm = Field(
        default_factory=_usual_algorithm,
        description="sliding: a sliding counter. gcra: spread evenly. calendar: UTC days (window 86400). "
        "log: exact, for quotas up to 1000. Absent: gcra for a window of 1 s, else sliding.",
    )
    mode: Mode = Field("enforce", description="enforce; shadow: counted, refuses nobody; off: as if absent.")
    on_store_failure: OnStoreFailure = Field(
        "local",
        description="Without the counters' store: local counts in each gateway its share, open admits, closed refuses.",
    )

    @rule(
        "R16",
        "self.quota * self.window <= 9007199254740",  # times 1000 within 2^53
        "quota {self.quota} with window {self.window} cannot be counted exactly; their product is at most 9007199254740",
        "quota",
    )
    def _exact(self) -> bool:
        return self.quota * self.window * 1000 <= MAX_QUOTA_WINDOW_MS

    @model_validator(mode="after")
    def _fits_its_algorithm(self) -> Self:
        if self.algorithm == "calendar" and self.window != DAY_S:
            raise ValueError(f"algorithm calendar counts UTC days; write window: {DAY_S}")
        if self.algorithm == "log" and self.quota > MAX_LOG_QUOTA:
            raise ValueError(f"algorithm log keeps every request; quota at most {MAX_LOG_QUOTA}")
        return self


class Tier(Strict):
    """What one kind of subscriber may do."""

    name: Word = Field(description="Its name.")
    criticality: Criticality = Field(description="What is shed first when the platform is overloaded: sheddable.")
    concurrency: Annotated[int, Field(strict=True, ge=1, le=100_000)] | None = Field(
        None, description="Requests in flight per subscriber, over all gateways; absent: no cap."
    )
    policies: tuple[Policy, ...] = Field(min_length=1, max_length=8)

    @field_validator("policies")
    @classmethod
    def _few(cls, policies: tuple[Policy, ...]) -> tuple[Policy, ...]:
        for mode in ("enforce", "shadow"):
            if sum(policy.mode == mode for policy in policies) > 4:
                raise ValueError(f"more than 4 policies of mode {mode}; keep 4")
        return policies


class RouteRule(Strict):
    """What a request to `match` costs, how much it matters, and a policy of its own beside the tier's."""

    match: Match = Field(
        description="Method in capitals, or *; a space; the path: {name} stands for one segment, * at the end for any tail."
    )
    cost: Annotated[int, Field(strict=True, ge=0, le=1000)] | None = Field(
        None, description="Units that one request spends; 0 = exempt, absent: 1."
    )
    criticality: Criticality | None = Field(None, description="In place of the subscriber's tier's.")
    policy: Policy | None = Field(None, description="A limit of its own, beside the tier's.")

    @field_validator("match")
    @classmethod
    def _pattern(cls, match: str) -> str:
        method, _, path = match.partition(" ")
        if method != "*" and not (method.isascii() and method.isalpha() and method.isupper()):
            raise ValueError(f"{match!r}: begins with a method in capitals, or *, then one space")
        segments = path.split("/")
        if segments[0] or len(segments) < 2 or not path.isascii() or not path.isprintable() or " " in path:
            raise ValueError(f"{match!r}: after the method comes a path that begins with /")
        for segment in segments[1:-1]:
            _segment(match, segment)
        if segments[-1] != "*":
            _segment(match, segments[-1])
        return match


def _segment(match: str, segment: str) -> None:
    named = segment.startswith("{") and segment.endswith("}") and segment[1:-1].isidentifier()
    if not named and any(mark in segment for mark in "{}*?#"):
        raise ValueError(f"{match!r}: {segment!r} is neither text nor {{name}}; * stands only for the whole tail")


class BreakerPolicy(Strict):
    """When the balancer stops sending to an endpoint, and how it tries again."""

    failure_threshold: Int = Field(5, ge=0, le=1000, description="Failures in a row that open it; 0 = off.")
    open_seconds: Int = Field(30, ge=1, le=600, description="Seconds it stays open the first time.")
    half_open_successes: Int = Field(3, ge=1, le=100, description="Successes in a row that close it again.")
    half_open_concurrency: Int = Field(1, ge=1, le=100, description="Requests at once while it tries again.")
    window_seconds: Int = Field(10, ge=1, le=600, description="Seconds over which the two ratios are taken.")
    minimum_calls: Int = Field(20, ge=1, le=100_000, description="Calls in the window before a ratio counts.")
    failure_ratio: Number = Field(0.5, ge=0.01, le=1, description="Share of failed calls that opens it.")
    slow_call_seconds: Int = Field(5, ge=1, le=600, description="Seconds from which a call counts as slow.")
    slow_call_ratio: Number = Field(0.8, ge=0.01, le=1, description="Share of slow calls that opens it.")
    max_open_seconds: Int = Field(300, ge=1, le=3600, description="Seconds it stays open at most, after many failures.")
    max_ejected_percent: Int = Field(
        50, ge=0, le=100, description="Percent of the endpoints that may be out of service at once."
    )

    @rule(
        "R13",
        "self.openSeconds <= self.maxOpenSeconds",
        "openSeconds {self.open_seconds} is above maxOpenSeconds {self.max_open_seconds}; lower the first",
        "openSeconds",
    )
    def _ordered(self) -> bool:
        return self.open_seconds <= self.max_open_seconds


def _tier(name: str, criticality: Criticality, quota: int, burst: int = 0) -> Tier:
    bursts = (Policy(name=f"{name}-burst", quota=burst, window=1),) if burst else ()
    return Tier(name=name, criticality=criticality, policies=(Policy(name=name, quota=quota, window=60), *bursts))


BUILT_IN_TIERS: Final = (
    _tier("anonymous", "sheddable", 100),
    _tier("free", "sheddable-plus", 1_000, 500),
    _tier("pro", "critical", 10_000, 2_000),
    _tier("enterprise", "critical-plus", 100_000, 10_000),
)
_LOGIN: Final = Policy(name="login-ip", quota=20, window=60, on_store_failure="closed")
BUILT_IN_ROUTES: Final = (
    RouteRule(match="POST /api/v1/auth/login", cost=0, criticality="critical", policy=_LOGIN),
    RouteRule(match="POST /api/v1/admin/login", cost=0, criticality="critical", policy=_LOGIN),
    RouteRule(match="GET /api/v1/external", cost=2),
    RouteRule(match="GET /api/v1/admin/logs", cost=10, criticality="sheddable"),
    RouteRule(match="* /api/v1/admin/*", criticality="critical-plus"),
)
BUILT_IN_CREDENTIAL_FAILURES: Final = Policy(name="credential-ip", quota=30, window=60, on_store_failure="closed")


class TiersSpec(Strict):
    """The content that is hashed. `tiers` is in rank order, lowest first; of `routes` the first match wins."""

    anonymous_tier: Word = "anonymous"
    default_tier: Word = "free"
    tiers: tuple[Tier, ...] = Field(min_length=1, max_length=32)
    routes: tuple[RouteRule, ...] = Field(default=BUILT_IN_ROUTES, max_length=256)
    credential_failures: Policy = BUILT_IN_CREDENTIAL_FAILURES
    breaker: BreakerPolicy = BreakerPolicy()

    @model_validator(mode="after")
    def _whole(self) -> Self:
        faults = tuple(spec_faults(self))
        if faults:
            raise ValueError("; ".join(faults))
        return self


def spec_faults(spec: TiersSpec) -> Iterator[str]:
    """What no single field can see: names that resolve, names that are unique, costs that can be admitted."""
    names = [tier.name for tier in spec.tiers]
    yield from (f"tiers: {name!r} is defined twice; rename one" for name in sorted(_doubles(names)))
    for field, wanted in (("anonymousTier", spec.anonymous_tier), ("defaultTier", spec.default_tier)):
        if wanted not in names:
            yield f"{field}: no tier is named {wanted!r}; write one of {', '.join(names)}"
    yield from _name_faults(spec)
    yield from _cost_faults(spec)


def _doubles(names: Iterable[str]) -> set[str]:
    seen: set[str] = set()
    return {name for name in names if name in seen or seen.add(name)}  # type: ignore[func-returns-value]  # add answers None


def _name_faults(spec: TiersSpec) -> Iterator[str]:
    reserved = OVERRIDE_NAMES | {f"{tier.name}-concurrency" for tier in spec.tiers if tier.concurrency}
    of_tiers = [(f"tiers[{i}].policies[{j}]", p) for i, t in enumerate(spec.tiers) for j, p in enumerate(t.policies)]
    of_routes = [(f"routes[{i}].policy", rule.policy) for i, rule in enumerate(spec.routes) if rule.policy]
    known: dict[str, tuple[str, Policy]] = {}
    for where, policy in (*of_tiers, *of_routes, ("credentialFailures", spec.credential_failures)):
        first = known.setdefault(policy.name, (where, policy))
        same = where == first[0] or (
            where.startswith("routes[") and first[0].startswith("routes[") and policy == first[1]
        )
        if policy.name in reserved:
            yield f"{where}.name: {policy.name!r} is taken by the limiter itself; rename it"
        elif not same:
            yield f"{where}.name: {policy.name!r} is the name of {first[0]} too; rename one"


def _cost_faults(spec: TiersSpec) -> Iterator[str]:
    charged = [policy for tier in spec.tiers for policy in tier.policies if policy.mode != "off"]
    for index, route in enumerate(spec.routes):
        own = [route.policy] if route.policy and route.policy.mode != "off" else []
        for policy in (*charged, *own):
            if (route.cost or 0) > policy.quota:
                yield f"routes[{index}].cost: {route.cost} is above quota {policy.quota} of {policy.name!r}; lower it"
                break


class TiersDocument(Strict):
    """A spec with its revision and the hash by which processes acknowledge it."""

    api_version: Literal["scalableapi.io/v1"] = "scalableapi.io/v1"
    kind: Literal["Tiers"] = "Tiers"
    revision: Int = Field(ge=0, le=2**53)
    hash: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")
    spec: TiersSpec


def canonical(value: Any) -> bytes:
    """JSON with sorted names, no spaces, shortest numbers: what the hash is taken of."""
    text = json.dumps(_shortest(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def _shortest(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: _shortest(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_shortest(item) for item in value]
    return value


def _plain(model: BaseModel) -> Any:
    return _shortest(model.model_dump(mode="json", by_alias=True, exclude_none=True))


def spec_hash(spec: TiersSpec) -> str:
    """The hash of `spec` as `render` writes it: with every default filled in."""
    return _hash(_plain(spec))


def _hash(value: Any) -> str:
    return "sha256:" + sha256(canonical(value)).hexdigest()


def document(revision: int, spec: TiersSpec) -> TiersDocument:
    """`spec` as the document of `revision`."""
    return TiersDocument(revision=revision, hash=spec_hash(spec), spec=spec)


BUILT_IN: Final = document(0, TiersSpec(tiers=BUILT_IN_TIERS))
"""In force where no document was given. Revision 0: any other replaces it."""


def parse(raw: bytes) -> TiersDocument:
    """Read a document, YAML or JSON; raises TiersRefusedError with all faults. The hash is of the spec as written."""
    try:
        value = load(raw, max_bytes=MAX_BYTES).value
    except DocumentError as fault:
        raise TiersRefusedError([f"line {fault.line}, column {fault.column}: {fault.message}"]) from None
    if not isinstance(value, dict):
        raise TiersRefusedError(["document: expected an object with apiVersion, kind, revision, hash and spec"])
    try:
        found = TiersDocument.model_validate(value, by_alias=True, by_name=False)
    except ValidationError as error:
        raise TiersRefusedError([str(fault) for fault in faults_of(error, TiersDocument)]) from None
    right = _hash(value["spec"])
    if found.hash != right:
        raise TiersRefusedError([f"{dotted(('hash',))}: is not that of spec; expected {right}"])
    return found


def render(tiers: TiersDocument) -> bytes:
    """The document as YAML that `parse` reads back to an equal one."""
    text: str = yaml.dump(
        _plain(tiers),
        Dumper=yaml.CSafeDumper,  # libyaml's: a tenth of the time
        sort_keys=False,
        default_flow_style=None,
        allow_unicode=True,
        width=120,
    )
    return text.encode()
