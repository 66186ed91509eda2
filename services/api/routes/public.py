"""What needs no credential, and `~/me`: version, info, status, the OpenAPI document and its page, the problem types
(contract.md 1.1).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from fastapi import Depends, Header, Request, Response

from services.api import conditional, csrf, openapi, profiles
from services.api.access import ANY, AUTH, AccessRouter, Caller, caller
from services.api.db import DatabaseError
from services.api.errors import Problem
from services.api.models import AnswerModel, Time, User
from services.api.pages import docs_page, problem_page
from services.api.services import Deps
from services.core.breaker import CLOSED
from services.core.problems import PROBLEMS

FEATURES: Final = ("caching", "rate-limiting", "circuit-breaker")
FIVE_MINUTES: Final = {"Cache-Control": "public, max-age=300"}
A_DAY: Final = {"Cache-Control": "public, max-age=86400", "Vary": "Accept"}

router = AccessRouter(tags=("Public",))
Who = Annotated[Caller, Depends(caller)]


class Deprecated(AnswerModel):
    version: str
    deprecated_at: Time
    sunset_at: Time
    link: str


class Versions(AnswerModel):
    current: str
    supported: list[str]
    deprecated: list[Deprecated]


class Info(AnswerModel):
    version: str
    instance_id: str
    timestamp: Time
    features: list[str]
    demo: bool


class StatusUser(AnswerModel):
    """`email` null: nobody can tell it now."""

    id: str
    email: str | None
    tier: str


class Status(AnswerModel):
    status: Literal["operational", "degraded"]
    version: str
    instance_id: str
    timestamp: Time
    user: StatusUser | None


class LimitPolicy(AnswerModel):
    name: str
    quota: int
    window: int
    remaining: int
    reset_seconds: int


class RateLimit(AnswerModel):
    """The caller's limit as the gateway saw it for this request; null where no policy binds it."""

    allowed: bool
    remaining: int | None
    reset_at: Time | None
    limit: int | None
    policies: list[LimitPolicy]


class Me(AnswerModel):
    """`rateLimit` null: the request did not come through a gateway that limits. `csrfToken` for a cookie's session."""

    user: User
    scopes: list[str]
    via: Literal["key", "bearer", "cookie"]
    rate_limit: RateLimit | None
    csrf_token: str | None = None
    served_by: str


class ProblemTypeAnswer(AnswerModel):
    """A problem type: when it is answered, and what a client can do."""

    type: str
    slug: str
    title: str
    status: int
    code: str
    meaning: str
    remedy: str


@router.get("/api/version", access=ANY, response_model=Versions, summary="Versions of the API")
async def version(response: Response) -> Versions:
    response.headers.update(FIVE_MINUTES)
    return Versions(current="v1", supported=["v1"], deprecated=[])


@router.get("/api/v1/info", access=ANY, response_model=Info, summary="What answers here")
async def info(services: Deps) -> Info:
    settings = services.settings
    return Info(
        version=settings.app_version,
        instance_id=settings.instance_id,
        timestamp=datetime.now(UTC),
        features=list(FEATURES),
        demo=settings.demo_mode,
    )


@router.get("/api/v1/status", access=ANY, response_model=Status, summary="How the service is, and who asks")
async def status(services: Deps, who: Who) -> Status:
    degraded = services.probes.degraded or services.external.state != CLOSED
    user = None
    if who.identity is not None:
        profile = await _profile(services, who)
        user = StatusUser(id=who.user_id, email=profile.email if profile else None, tier=who.identity.tier)
    return Status(
        status="degraded" if degraded else "operational",
        version=services.settings.app_version,
        instance_id=services.settings.instance_id,
        timestamp=datetime.now(UTC),
        user=user,
    )


@router.get(
    "/api/v1/me",
    access=AUTH,
    response_model=Me,
    response_model_exclude_unset=True,
    summary="Who asks, and their limits",
)
async def me(
    services: Deps,
    who: Who,
    x_gateway_rate_limit: Annotated[str, Header(alias="X-Gateway-RateLimit", include_in_schema=False)] = "",
) -> Me:
    assert who.identity is not None  # noqa: S101  # the access rule
    profile = await profiles.read(services.cache, services.db, who.user_id)
    if profile is None:
        raise Problem("invalid-token")
    answer = Me(
        user=User(id=profile.id, email=profile.email, role=profile.role, tier=profile.tier),
        scopes=sorted(who.scopes),
        via=who.identity.via,
        rate_limit=_rate_limit(x_gateway_rate_limit),
        served_by=services.settings.instance_id,
    )
    if who.identity.via == "cookie":
        answer.csrf_token = csrf.token(services.settings.identity_secrets[0], who.session)
    return answer


@router.get("/api/openapi.json", access=ANY, summary="This API as OpenAPI 3.1", responses=openapi.JSON_DOCUMENT)
async def openapi_document(
    services: Deps,
    request: Request,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    if not services.settings.api_docs:
        raise Problem("not-found")
    body, etag = openapi.rendered(request.app)
    headers = {**FIVE_MINUTES, "ETag": etag}
    if conditional.none_match(if_none_match, etag):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type="application/json")


@router.get("/api/docs", access=ANY, summary="The OpenAPI document as a page", responses=openapi.HTML)
async def docs(services: Deps, request: Request) -> Response:
    if not services.settings.api_docs:
        raise Problem("not-found")
    page = docs_page(openapi.document(request.app))
    return Response(page, headers=FIVE_MINUTES, media_type="text/html")


@router.get(
    "/problems/{slug}",
    access=ANY,
    response_model=ProblemTypeAnswer,
    summary="What a problem type means",
    responses=openapi.OR_HTML,
)
async def problem(services: Deps, slug: str, accept: Annotated[str, Header(include_in_schema=False)] = "") -> Response:
    found = PROBLEMS.get(slug)
    if found is None:
        raise Problem("not-found")
    members = {
        "type": found.uri(services.settings.problem_base_uri),
        "slug": slug,
        "title": found.title,
        "status": found.status,
        "code": found.code,
        "meaning": found.detail,
        "remedy": openapi.remedy(found),
    }
    if prefers_html(accept):
        return Response(problem_page(members), headers=A_DAY, media_type="text/html")
    return Response(msgspec.json.encode(members), headers=A_DAY, media_type="application/json")


def prefers_html(accept: str) -> bool:
    """A browser names text/html first and with more weight; a client that names neither gets JSON."""
    return _weight(accept, "text/html") > max(_weight(accept, "application/json"), _weight(accept, "application/*"))


def _weight(accept: str, kind: str) -> float:
    for part in accept.lower().split(","):
        name, *parameters = (p.strip() for p in part.split(";"))
        if name == kind:
            quality = next((p[2:] for p in parameters if p.startswith("q=")), "1")
            try:
                return float(quality)
            except ValueError:
                return 0.0
    return 0.0


async def _profile(services: Any, who: Caller) -> profiles.Profile | None:
    """For `~/status`, which answers while the store is away."""
    try:
        return await profiles.read(services.cache, services.db, who.user_id)
    except DatabaseError:
        return None


def _rate_limit(header: str) -> RateLimit | None:
    if not header:
        return None
    return RateLimit.model_validate_json(header)
