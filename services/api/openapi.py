"""The OpenAPI 3.1 document: FastAPI's own, made exact.

FastAPI knows parameters, bodies and good answers from the handlers' types. Added here is what every route shares and
no handler says: which refusals it may answer (one problem schema), which credential it takes, what the gateway needs
for its route table (latency class, body limit). Tests run schemathesis against it; `./dev generate` makes
core/routes.py from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from types import SimpleNamespace
from typing import Any, Final, cast

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from services.api import conditional
from services.core.problems import ProblemType

DESCRIPTION: Final = (
    "Every request passes the gateway, which authenticates it and counts it against its tier's limits. "
    "Errors are RFC 9457 problem documents."
)
PROBLEM: Final = "Problem"
SLOW: Final = frozenset({"/api/v1/auth/login", "/api/v1/admin/login", "/api/v1/auth/password", "/api/v1/external"})
IDEMPOTENT: Final = frozenset(
    {
        "/api/v1/resources",
        "/api/v1/keys",
        "/api/v1/keys/{id}/rotate",
        "/api/v1/admin/keys",
        "/api/v1/admin/keys/{id}/rotate",
        "/api/v1/admin/rate-limit-overrides",
    },
)
JSON_LIMIT: Final = 1 << 20
BODY_METHODS: Final = ("post", "put", "patch", "delete")
HTML: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "A page", "content": {"text/html": {"schema": {"type": "string"}}}},
}
OR_HTML: Final[dict[int | str, dict[str, Any]]] = {200: {"content": {"text/html": {"schema": {"type": "string"}}}}}
JSON_DOCUMENT: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "OpenAPI 3.1", "content": {"application/json": {"schema": {"type": "object"}}}},
}
REMEDIES: Final[Mapping[int, str]] = {
    400: "Correct the request; the details name the places.",
    401: "Send a valid API key or log in again.",
    403: "Use an identity that may do this.",
    404: "Check the address.",
    409: "Look at the thing's state, then decide.",
    412: "Read it again and repeat the change on what is there now.",
    429: "Wait as Retry-After says.",
    500: "Report the request id.",
    503: "Try again after Retry-After.",
    504: "Try again; a longer X-Request-Timeout-Ms may help.",
}


def document(app: FastAPI) -> dict[str, Any]:
    """Made once per application."""
    kept: dict[str, Any] | None = getattr(app.state, "openapi", None)
    if kept is None:
        kept = app.state.openapi = _make(app)
    return kept


def rendered(app: FastAPI) -> tuple[bytes, str]:
    """The document's text and entity tag."""
    kept: tuple[bytes, str] | None = getattr(app.state, "openapi_text", None)
    if kept is None:
        body = msgspec.json.encode(document(app))
        kept = app.state.openapi_text = (body, conditional.tag(blake2b(body, digest_size=12).hexdigest()))
    return kept


def whole_document() -> dict[str, Any]:
    """The document of all routes, without a running process: for generators and tests."""
    from services.api.app import build

    settings = SimpleNamespace(app_version="1.0.0")
    return document(build(cast("Any", SimpleNamespace(settings=settings))))


def remedy(problem: ProblemType) -> str:
    return REMEDIES.get(problem.status, "Correct the request.")


def _make(app: FastAPI) -> dict[str, Any]:
    made = get_openapi(
        title=app.title,
        version=app.version,
        openapi_version="3.1.0",
        description=DESCRIPTION,
        routes=app.router.routes,
    )
    for path, item in made["paths"].items():
        for method, operation in item.items():
            _complete(path, method, operation)
    components = made.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas[PROBLEM] = PROBLEM_SCHEMA
    components["securitySchemes"] = SECURITY_SCHEMES
    return made


def _complete(path: str, method: str, operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    responses.pop("422", None)
    for parameter in operation.get("parameters", ()):
        parameter["schema"] = _without_null(parameter["schema"])
        if parameter["name"].lower() == "if-none-match":
            responses.setdefault("304", {"description": "The client has it"})
    rule = operation.get("x-access", "any")
    if rule == "any":
        operation["security"] = [{}, *CREDENTIALS]
    else:
        operation["security"] = [{"session": []}, {"cookie": []}] if rule == "session" else CREDENTIALS
    if path in SLOW:
        operation["x-latency-class"] = "slow"
    if "requestBody" in operation and method in BODY_METHODS:
        operation.setdefault("x-body-limit", JSON_LIMIT)
    if method == "post" and path in IDEMPOTENT:
        operation.setdefault("parameters", []).append(IDEMPOTENCY_KEY)
    for status in _refusals(path, method, operation, rule):
        responses.setdefault(status, _problem(REFUSALS[status]))
    responses["default"] = _problem("Any other problem")
    operation["responses"] = dict(sorted(responses.items()))


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """An absent parameter is absent; there is no text that means null."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return schema
    return {**kinds[0], **{name: value for name, value in schema.items() if name not in {"anyOf", "default"}}}


def _refusals(path: str, method: str, operation: Mapping[str, Any], rule: str) -> set[str]:
    """Statuses of section 3 that this operation may answer beside its own."""
    found = {"400", "401", "429", "500", "502", "503", "504"}
    if rule != "any":
        found.add("403")
    if "{" in path:
        found.add("404")
    if "requestBody" in operation:
        found |= {"413", "415"}
    if method == "post" and path in IDEMPOTENT:
        found |= {"409", "422"}
    if any(p["name"].lower() == "if-match" for p in operation.get("parameters", ())):
        found.add("412")
    return found


def _problem(description: str) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{PROBLEM}"}
    return {"description": description, "content": {"application/problem+json": {"schema": schema}}}


REFUSALS: Final[Mapping[str, str]] = {
    "400": "The request is malformed or a value is wrong",
    "401": "No valid credential",
    "403": "The identity may not do this",
    "404": "There is no such thing",
    "409": "The state of the thing does not allow this",
    "412": "The thing has changed since it was read",
    "413": "The body is too large",
    "415": "The body is not plain JSON in UTF-8",
    "422": "The Idempotency-Key came with another body",
    "429": "A limit is used up; Retry-After says when to come back",
    "500": "A fault of ours",
    "502": "A next hop gave no valid answer",
    "503": "Temporarily unavailable; Retry-After says when to come back",
    "504": "The deadline passed",
}
CREDENTIALS: Final[list[dict[str, list[str]]]] = [{"apiKey": []}, {"session": []}, {"cookie": []}]
SECURITY_SCHEMES: Final = {
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "sk_live_…"},
    "session": {"type": "http", "scheme": "bearer", "description": "A session's token, or an API key"},
    "cookie": {"type": "apiKey", "in": "cookie", "name": "__Host-scalable_session"},
}
IDEMPOTENCY_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "a quoted string: the same request again gets the first answer, for 24 h",
    "schema": {"type": "string", "pattern": '^"[ !#-\\[\\]-~]{1,255}"$'},
}
PROBLEM_SCHEMA: Final = {
    "type": "object",
    "title": PROBLEM,
    "description": "RFC 9457, with the old members error, message and code beside; further members by type.",
    "required": ["type", "title", "status", "detail", "instance", "error", "message", "code", "requestId"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "error": {"type": "string"},
        "message": {"type": "string"},
        "code": {"type": "string", "pattern": "^[A-Z_]+$"},
        "requestId": {"type": "string"},
        "retryAfter": {"type": "integer", "minimum": 1},
    },
}
