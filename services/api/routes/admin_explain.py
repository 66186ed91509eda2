"""`~/admin/explain` (contract.md 1.6): what the next such request would get, and why; a gateway and a balancer say
their parts, nothing is spent.
"""

from __future__ import annotations

from itertools import combinations
from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field

from services.api import limits
from services.api.access import VIEWER, AccessRouter
from services.api.errors import Detail, Problem, invalid
from services.api.identifiers import IDENTIFIER
from services.api.models import AnswerModel, ApiModel
from services.api.numbers import Integer
from services.api.services import Deps, Services
from services.core.problems import PROBLEMS
from services.runtime.http_client import ControlClient

router = AccessRouter(tags=("Admin: explain",))
CALLERS: Final = frozenset({"identifier", "api_key_id", "ip"})
EXCLUSIVE: Final[dict[str, Any]] = {
    "not": {"anyOf": [{"required": list(two)} for two in combinations(("identifier", "apiKeyId", "ip"), 2)]}
}


class ExplainBody(ApiModel):
    """At most one of `identifier`, `apiKeyId`, `ip`; none: an anonymous caller. `cost` instead of the route's own."""

    model_config = ConfigDict(json_schema_extra={**EXCLUSIVE})
    method: Annotated[str, Field(pattern="^[A-Z]{1,16}$")]
    path: Annotated[str, Field(min_length=1, max_length=8192, pattern="^/")]
    identifier: Annotated[str, Field(max_length=200, pattern=IDENTIFIER)] | None = None
    api_key_id: Annotated[str, Field(min_length=1, max_length=32)] | None = None
    ip: Annotated[str, Field(min_length=2, max_length=64)] | None = None
    cost: Annotated[int, Field(ge=0, le=1000), Integer] | None = None


class ExplainedRequest(AnswerModel):
    """`route` null: the target is malformed."""

    route: str | None
    latency_class: Annotated[str, Field(alias="class")] = ""
    criticality: str = ""
    cost: int = 0


class ExplainedIdentity(AnswerModel):
    identifier: str
    tier: str
    tier_source: str
    scopes: list[str]


class ExplainedPolicy(AnswerModel):
    name: str
    quota: int
    window: int
    algorithm: str
    mode: str
    estimate: int
    remaining: int
    retry_after: int | None
    verdict: str


class ExplainedEndpoint(AnswerModel):
    id: str
    state: str
    breaker: str | None


class ExplainedShedding(AnswerModel):
    """`level`: classes that lose something now, 0 to 3."""

    level: int
    would_shed: bool


class ExplainedUpstream(AnswerModel):
    endpoints: list[ExplainedEndpoint]
    verdict: str


class ExplainedTiers(AnswerModel):
    revision: int
    hash: str


class ExplainedVerdict(AnswerModel):
    """`stage` is the one that refuses; all null for an admitted request."""

    outcome: Literal["admit", "reject"]
    stage: str | None
    status: int | None
    type: str | None
    reason: str | None
    retry_after: int | None


class Explained(AnswerModel):
    """`override`: the identifier whose override holds. `answeredBy`: the instances that told their parts."""

    request: ExplainedRequest
    identity: ExplainedIdentity | None
    override: str | None
    policies: list[ExplainedPolicy]
    shedding: ExplainedShedding | None
    upstream: ExplainedUpstream | None
    verdict: ExplainedVerdict
    tiers: ExplainedTiers
    answered_by: list[str]


@router.post("/api/v1/admin/explain", access=VIEWER, response_model=Explained, summary="What would this request get?")
async def explain(services: Deps, body: ExplainBody) -> Explained:
    asked = await question(services, body)

    async def ask(control: ControlClient) -> dict[str, Any]:
        return await control.explain(asked)

    gateway = next(iter(await services.fleet.ask(ask, "gateway", one=True)), None)
    if gateway is None or gateway.value is None:
        raise Problem("dependency-unavailable", "No gateway answered.", retry_after_s=1, dependency="gateway")
    balancer = next(iter(await services.fleet.ask(ask, "balancer", one=True)), None)
    part = balancer.value if balancer is not None else None
    names = [a.process.instance for a in (gateway, balancer) if a is not None and a.value is not None]
    return merged(gateway.value, part, names)


async def question(services: Services, body: ExplainBody) -> dict[str, Any]:
    """What the control ports are asked; a user's tier is ours to tell, the gateway knows only sessions."""
    if len(CALLERS & body.model_fields_set) > 1:
        raise invalid(Detail("", "names more than one of identifier, apiKeyId and ip", "exclusive"))
    asked = body.model_dump(by_alias=True, exclude_none=True)
    if body.identifier is None:
        return asked
    name = limits.canonical(body.identifier)
    if name is None:
        raise invalid(Detail("/identifier", "must be key:<id>, user:<uuid> or ip:<address>", "identifier"))
    asked["identifier"] = name
    if name.startswith("user:"):
        async with services.db.read() as connection:
            subject = await limits.subject_of(connection, name, await services.fleet.tiers.current())
        if subject is None:
            raise Problem("not-found", "There is no such user.")
        asked["tier"] = subject.tier_name
    return asked


def merged(gateway: dict[str, Any], balancer: dict[str, Any] | None, names: list[str]) -> Explained:
    """The gateway's verdict, unless it admits and the balancer would not; upstream as the balancer sees it."""
    upstream = balancer["upstream"] if balancer is not None else None
    verdict = dict(gateway["verdict"])
    if upstream is not None and verdict["outcome"] == "admit" and upstream["verdict"] in PROBLEMS:
        slug = upstream["verdict"]
        verdict |= {"outcome": "reject", "stage": "pick", "status": PROBLEMS[slug].status, "type": slug, "reason": slug}
    identity = gateway.get("identity")
    if identity is not None:
        identity = {name: identity[name] for name in ("identifier", "tier", "tierSource", "scopes")}
    return Explained.model_validate(
        {
            "request": gateway["request"],
            "identity": identity,
            "override": gateway.get("override"),
            "policies": gateway.get("policies", []),
            "shedding": gateway.get("shedding"),
            "upstream": upstream,
            "verdict": verdict,
            "tiers": gateway["tiers"],
            "answeredBy": names,
        }
    )
