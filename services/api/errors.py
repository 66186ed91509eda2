"""Refusals and faults of the api become RFC 9457 documents here, in one place (contract.md 3).

Handlers raise `Problem`; a store's own exceptions become one here; anything else that escapes is a fault of ours:
logged with its stack under the request's id and answered as `internal-error`. edge.py calls `from_exception` and
`render`, nobody else answers with an error. The table of slugs (status, code, texts) is core/problems.py, shared with
gateway and balancer.

    Problem                    what a client is told: `slug`, a sentence, further members, headers
      ├─ blame client          validation-failed, invalid-json, authentication-required, forbidden, conflict, …
      └─ blame us or a store   dependency-unavailable, gateway-timeout, internal-error, …
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fastapi import FastAPI, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import Scope

from services.api.db import DatabaseError, OutcomeUnknownError
from services.core import problems

MEDIA_TYPE: Final = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Detail:
    """One wrong place: a JSON pointer into the body (`/name`; "" is the whole) or a query parameter (`?page`)."""

    pointer: str
    message: str
    kind: str


class Problem(Exception):  # noqa: N818  # the RFC's word; its subject is what a client is told
    """`slug` names the type; `detail` is the sentence for people; `error` replaces the type's own short text; `facts`
    are further members.
    """

    def __init__(
        self,
        slug: str,
        detail: str = "",
        *,
        error: str = "",
        headers: Mapping[str, str] | None = None,
        retry_after_s: int | None = None,
        violated: Sequence[str] = (),
        **facts: Any,
    ) -> None:
        super().__init__(detail or slug)
        self.type = problems.PROBLEMS[slug]
        self.slug = slug
        self.detail = detail or self.type.detail
        self.error = error or self.type.error
        self.headers = dict(headers or {})
        self.retry_after_s = retry_after_s
        self.facts = facts
        if retry_after_s is None and self.type.retries:
            self.retry_after_s = 1
        if violated:
            self.facts["violated-policies"] = list(violated)
        if self.type.degraded:
            self.facts["degraded"] = True
        if self.type.closes:
            self.headers["Connection"] = "close"
        if self.retry_after_s is not None:
            self.headers["Retry-After"] = str(self.retry_after_s)
            self.facts["retryAfter"] = self.retry_after_s

    @property
    def status(self) -> int:
        return self.type.status


def document(problem: Problem, base_uri: str, path: str, request_id: str) -> dict[str, Any]:
    """The members in contract.md's order."""
    return {
        "type": problem.type.uri(base_uri),
        "title": problem.type.title,
        "status": problem.status,
        "detail": problem.detail,
        "message": problem.detail,
        "error": problem.error,
        "code": problem.type.code,
        "instance": path,
        "requestId": request_id,
        **problem.facts,
    }


def render(problem: Problem, base_uri: str, path: str, request_id: str) -> Response:
    """The complete answer."""
    body = json.dumps(document(problem, base_uri, path, request_id), ensure_ascii=False, separators=(",", ":")).encode()
    return Response(body, problem.status, problem.headers, MEDIA_TYPE)


def from_exception(error: Exception, app: FastAPI, scope: Scope) -> Problem:
    """What the client is told about anything that was raised; a fault of ours says nothing about itself."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, RequestValidationError):
        return from_validation(error)
    if isinstance(error, HTTPException) and error.status_code == 404:
        return Problem("not-found", "There is nothing at this path.", path=scope["path"])
    if isinstance(error, HTTPException) and error.status_code == 405:
        allowed = methods_at(app, scope)
        text = f"This path takes {', '.join(allowed)}."
        return Problem("method-not-allowed", text, headers={"Allow": ", ".join(allowed)}, allow=allowed)
    return store_problem(error) or Problem("internal-error")


def store_problem(error: Exception) -> Problem | None:
    """503 with the dependency's name; None for what is no store's fault."""
    if isinstance(error, OutcomeUnknownError):
        text = "The database was lost while it committed: the outcome is unknown. Look before you repeat this."
        return Problem("dependency-unavailable", text, dependency="database")
    if isinstance(error, DatabaseError):
        return Problem("dependency-unavailable", "The database cannot be reached.", dependency="database")
    if isinstance(error, RedisError):
        return Problem("dependency-unavailable", "Redis cannot be reached.", dependency="redis")
    return None


def methods_at(app: FastAPI, scope: Scope) -> list[str]:
    """What Allow lists: the methods of every route at this path, HEAD beside GET."""
    found: set[str] = set()
    for route in app.router.routes:
        if isinstance(route, APIRoute) and route.matches(scope)[0] is not Match.NONE:
            found |= route.methods or set()
    return sorted(found | ({"HEAD"} if "GET" in found else set()))


def invalid(*details: Detail, sentence: str = "") -> Problem:
    """validation-failed; the first place's text becomes the sentence for people."""
    where = details[0].pointer
    text = f"{where.lstrip('/')}: {details[0].message}" if where else f"The body {details[0].message}."
    listed = [{"pointer": d.pointer, "message": d.message, "kind": d.kind} for d in details]
    return Problem("validation-failed", text, error=sentence, details=listed)


def from_validation(error: RequestValidationError, sentence: str = "") -> Problem:
    """What pydantic refused, with pointers instead of its own notation. `sentence` only where a member is missing or
    empty.
    """
    found = error.errors()
    if any(item["type"] == "json_invalid" for item in found):
        return Problem("invalid-json", "The body is not JSON.", offset=0)
    details = [
        Detail(pointer(item["loc"]), item["msg"].removeprefix("Value error, "), item["type"]) for item in found[:20]
    ]
    absent = any(item["type"] == "missing" or item.get("input") in ("", None) for item in found)
    return invalid(*details, sentence=sentence if absent else "")


def pointer(loc: Sequence[str | int]) -> str:
    """("body", "tags", 0) → "/tags/0"; ("query", "page") → "?page"."""
    place, *steps = loc
    escaped = [str(step).replace("~", "~0").replace("/", "~1") for step in steps]
    return "".join(f"/{step}" for step in escaped) if place == "body" else "?" + ".".join(escaped)
