"""A browser sends its cookie along with whatever another site makes it send; this is what tells the two apart
(contract.md 2.3).

Only requests that came by cookie are concerned, and only unsafe methods. Two proofs are wanted: where the request
comes from (`Origin`, else `Sec-Fetch-Site`), and a token bound to the session that another site cannot read. Called
by strict.py before each route.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final

from fastapi import Request

from services.api.access import Caller
from services.api.errors import Problem
from services.core.identity import csrf_token

if TYPE_CHECKING:
    from services.api.services import Services

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def refusal(request: Request, who: Caller) -> Problem | None:
    """Why this request must not act with its cookie; None: it may."""
    if request.method in SAFE or who.identity is None or who.identity.via != "cookie":
        return None
    services: Services = request.app.state.services
    if not same_origin(request, services.settings.cors_origins):
        return Problem("csrf-failed", "The request does not come from this site.")
    given = request.headers.get("x-csrf-token", "").encode()
    for (
        secret
    ) in services.settings.identity_secrets:  # a token outlives the rotation of its secret, as everything signed does
        if hmac.compare_digest(given, token(secret, who.session).encode()):
            return None
    return Problem("csrf-failed", "X-CSRF-Token is missing or belongs to another session.")


def token(secret: bytes, session: str) -> str:
    """What a page must send back: it stands in the answers of login and `~/me`."""
    return csrf_token(secret, session)


def own_origin(request: Request) -> str:
    """As the client sees it: scheme and host from the gateway."""
    scheme = request.headers.get("x-forwarded-proto", "http")
    return f"{scheme}://{request.headers.get('x-forwarded-host') or request.headers.get('host', '')}".lower()


def same_origin(request: Request, allowed: tuple[str, ...]) -> bool:
    origin = request.headers.get("origin")
    if origin is None:
        return request.headers.get("sec-fetch-site") == "same-origin"
    return origin.lower() == own_origin(request) or origin in allowed
