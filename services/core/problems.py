"""Every error a client can get, as data (contract.md section 3): status, code, texts, who tells the client when to
come back, what closes.

RFC 9457 wants one type per kind of problem; the old members `error`, `message`, `code` stand in the same object.
Readers: `http1/problems.py` (gateway, balancer), `api/errors.py`, `GET /problems/{slug}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

IANA: Final = "https://iana.org/assignments/http-problem-types#"


@dataclass(frozen=True, slots=True)
class ProblemType:
    """`detail` is said when a refusal brings none. `retries`: Retry-After and `retryAfter` go with it. `closes`: the
    connection ends.

    `proxy_error` is the RFC 9209 token of Proxy-Status (empty: none); a refusal by gateway or balancer may name a
    more exact one. `degraded`: the body says `degraded:true`, the failure is the platform's own state.
    """

    slug: str
    status: int
    code: str
    title: str
    error: str
    detail: str
    registered: bool = False
    retries: bool = False
    closes: bool = False
    degraded: bool = False
    proxy_error: str = ""

    def uri(self, base: str) -> str:
        """The `type` member; `base` is PROBLEM_BASE_URI, unused for types registered with IANA."""
        return (IANA if self.registered else base) + self.slug


def _plain(slug: str, status: int, detail: str, *, closes: bool = False, proxy_error: str = "") -> ProblemType:
    """`error` is the slug in words, the code is the slug in capitals."""
    words = slug.replace("-", " ").capitalize()
    code = slug.replace("-", "_").upper()
    return ProblemType(slug, status, code, words, words, detail, closes=closes, proxy_error=proxy_error)


DENIED: Final = "http_request_denied"
UNAVAILABLE: Final = "Service temporarily unavailable"
_ALL: Final = (
    ProblemType(
        "bad-request",
        400,
        "BAD_REQUEST",
        "Bad request",
        "Bad request",
        "The request is not well-formed HTTP.",
        closes=True,
        proxy_error="http_request_error",
    ),
    ProblemType(
        "validation-failed",
        400,
        "VALIDATION_FAILED",
        "Validation failed",
        "Validation failed",
        "A field of the request has a wrong value.",
    ),
    ProblemType("invalid-json", 400, "INVALID_JSON", "Invalid JSON", "Invalid JSON", "The body is not JSON."),
    ProblemType(
        "authentication-required",
        401,
        "AUTH_REQUIRED",
        "Authentication required",
        "Authentication required",
        "Send an API key or a session token.",
    ),
    ProblemType(
        "invalid-credentials",
        401,
        "INVALID_CREDENTIALS",
        "Invalid credentials",
        "Invalid credentials",
        "E-mail or password is wrong.",
    ),
    ProblemType(
        "invalid-api-key",
        401,
        "INVALID_API_KEY",
        "Invalid API key",
        "Invalid API key",
        "The API key is not valid.",
        proxy_error=DENIED,
    ),
    ProblemType(
        "invalid-token",
        401,
        "INVALID_TOKEN",
        "Invalid token",
        "Invalid or expired token",
        "The token is not valid or has expired.",
        proxy_error=DENIED,
    ),
    ProblemType("forbidden", 403, "FORBIDDEN", "Forbidden", "Forbidden", "The identity may not do this."),
    ProblemType(
        "insufficient-scope",
        403,
        "INSUFFICIENT_SCOPE",
        "Insufficient scope",
        "Insufficient scope",
        "The credential lacks the scope this needs.",
    ),
    ProblemType(
        "csrf-failed",
        403,
        "CSRF_FAILED",
        "CSRF check failed",
        "CSRF check failed",
        "A request by cookie needs its own origin and X-CSRF-Token.",
    ),
    ProblemType("not-found", 404, "NOT_FOUND", "Not found", "Not found", "There is nothing here."),
    _plain("method-not-allowed", 405, "The route does not know this method."),
    _plain("request-timeout", 408, "The request did not arrive in time.", closes=True),
    ProblemType("conflict", 409, "CONFLICT", "Conflict", "Conflict", "The state of the thing does not allow this."),
    _plain("precondition-failed", 412, "The thing has changed since it was read."),
    _plain("content-too-large", 413, "The body is larger than the route takes.", closes=True),
    _plain("uri-too-long", 414, "The request line is too long.", closes=True),
    _plain("unsupported-media-type", 415, "The route takes application/json."),
    _plain("expectation-failed", 417, "Only 100-continue can be expected."),
    ProblemType(
        "idempotency-mismatch",
        422,
        "IDEMPOTENCY_MISMATCH",
        "Idempotency key reused",
        "Idempotency key reused",
        "The same Idempotency-Key came with another body.",
    ),
    ProblemType(
        "quota-exceeded",
        429,
        "RATE_LIMITED",
        "Quota exceeded",
        "Rate limit exceeded",
        "The quota is used up.",
        registered=True,
        retries=True,
        proxy_error=DENIED,
    ),
    ProblemType(
        "abnormal-usage-detected",
        429,
        "TOO_MANY_ATTEMPTS",
        "Abnormal usage detected",
        "Too many attempts",
        "Too many attempts; wait.",
        registered=True,
        retries=True,
        proxy_error=DENIED,
    ),
    _plain("upgrade-required", 426, "WebSocket is spoken here in version 13."),
    _plain("header-fields-too-large", 431, "The header fields are too large or too many.", closes=True),
    ProblemType(
        "internal-error",
        500,
        "INTERNAL",
        "Internal server error",
        "Internal server error",
        "A fault of ours; it is logged under the request id.",
        proxy_error="proxy_internal_error",
    ),
    _plain("not-implemented", 501, "The server does not know this transfer coding or method.", closes=True),
    ProblemType(
        "bad-gateway",
        502,
        "BAD_GATEWAY",
        "Bad gateway",
        "Bad gateway",
        "No valid response from the next hop.",
        proxy_error="connection_terminated",
    ),
    ProblemType(
        "external-error",
        502,
        "EXTERNAL_ERROR",
        "External service error",
        "External service error",
        "The external service failed.",
    ),
    ProblemType(
        "temporary-reduced-capacity",
        503,
        "OVERLOADED",
        "Temporary reduced capacity",
        UNAVAILABLE,
        "There is more to do than can be done; try again later.",
        registered=True,
        retries=True,
        degraded=True,
        proxy_error="connection_limit_reached",
    ),
    ProblemType(
        "no-backend",
        503,
        "NO_BACKEND",
        "No backend",
        "No healthy backend servers available",
        "No endpoint can take the request.",
        retries=True,
        degraded=True,
        proxy_error="destination_unavailable",
    ),
    ProblemType(
        "circuit-open",
        503,
        "CIRCUIT_OPEN",
        "Circuit open",
        UNAVAILABLE,
        "Its circuit breaker is open.",
        retries=True,
        degraded=True,
        proxy_error="destination_unavailable",
    ),
    ProblemType(
        "dependency-unavailable",
        503,
        "DEPENDENCY_DOWN",
        "Dependency unavailable",
        UNAVAILABLE,
        "Something this needs cannot be reached.",
        retries=True,
        degraded=True,
        proxy_error="destination_unavailable",
    ),
    ProblemType(
        "gateway-timeout",
        504,
        "TIMEOUT",
        "Gateway timeout",
        "Gateway timeout",
        "The deadline has passed.",
        proxy_error="http_response_timeout",
    ),
    _plain("version-not-supported", 505, "Only HTTP/1.0 and HTTP/1.1 are spoken here.", closes=True),
    _plain("loop-detected", 508, "The request has passed this gateway three times.", proxy_error="proxy_loop_detected"),
)

PROBLEMS: Final[Mapping[str, ProblemType]] = {problem.slug: problem for problem in _ALL}
