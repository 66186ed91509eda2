"""The session's cookie: `__Host-` and Secure, but for plain HTTP on loopback, where a browser would not keep a Secure
one (contract.md 2.3).
"""

from __future__ import annotations

from typing import Final

from fastapi import Request, Response

from services.runtime.settings import is_loopback

SECURE: Final = "__Host-scalable_session"
PLAIN: Final = "scalable_session"


def is_plain(request: Request) -> bool:
    """Whether the client speaks plain HTTP to its own machine."""
    if request.headers.get("x-forwarded-proto", "http") == "https":
        return False
    host = request.headers.get("x-forwarded-host") or request.headers.get("host", "")
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() and not host.endswith("]") else host
    return is_loopback(name.strip("[]"))


def set_session(request: Request, response: Response, token: str, max_age_s: int) -> None:
    plain = is_plain(request)
    response.set_cookie(
        PLAIN if plain else SECURE,
        token,
        max_age=max_age_s,
        path="/",
        secure=not plain,
        httponly=True,
        samesite="strict",
    )


def clear_session(request: Request, response: Response) -> None:
    plain = is_plain(request)
    response.delete_cookie(PLAIN if plain else SECURE, path="/", secure=not plain, httponly=True, samesite="strict")
