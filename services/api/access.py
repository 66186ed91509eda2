"""Who may call a route: one rule per route, declared beside it, checked before the body is read.

A route module makes an `AccessRouter` and declares `@router.get("/api/v1/x", access=AUTH)`. The rule's name goes into
the OpenAPI document as `x-access`, so that the test of routes, roles and scopes reads its matrix from the document
itself; `app.py` refuses to start with a route that has no rule. A decision here is a value (`refusal` returns the
problem); `strict.py` raises it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, TypeVar

from fastapi import Depends, Request

from services.api.errors import Problem
from services.core.identity import Claims

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])

ROLE_SCOPES: Final[Mapping[str, frozenset[str]]] = {
    "user": frozenset({"read", "write", "keys"}),
    "viewer": frozenset({"read", "write", "keys", "admin:read"}),
    "admin": frozenset({"read", "write", "keys", "admin:read", "admin:write"}),
}
IMPLIED: Final[Mapping[str, frozenset[str]]] = {
    "write": frozenset({"write", "read"}),
    "admin:write": frozenset({"admin:write", "admin:read"}),
    "admin": frozenset({"admin:write", "admin:read"}),  # the old system's scope
    "*": ROLE_SCOPES["admin"],
}


def expand(scopes: Iterable[str]) -> frozenset[str]:
    """All that these scopes allow: `write` implies `read`, `*` everything."""
    return frozenset().union(*(IMPLIED.get(scope, frozenset({scope})) for scope in scopes))


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the gateway's verified claims (None: anonymous), the client's address, the request's id."""

    identity: Claims | None
    address: str
    request_id: str

    @property
    def session(self) -> str:
        """The session's id, empty for a key and for nobody."""
        return (self.identity.sid or "") if self.identity else ""

    @property
    def key_id(self) -> str:
        return (self.identity.kid or "") if self.identity else ""

    @property
    def user_id(self) -> str:
        """The user's uuid, of a key its owner's; empty for nobody."""
        return self.identity.sub if self.identity else ""

    @property
    def role(self) -> str:
        return self.identity.role if self.identity else ""

    @property
    def principal(self) -> str:
        """contract.md 5's identifier: `key:…`, `user:…`, `ip:…`."""
        if self.key_id:
            return f"key:{self.key_id}"
        return f"user:{self.user_id}" if self.identity else f"ip:{self.address}"

    @property
    def scopes(self) -> frozenset[str]:
        """What this caller may do: a key its scopes ∩ its owner's role, a session all its role allows."""
        if self.identity is None:
            return frozenset()
        allowed = ROLE_SCOPES.get(self.identity.role, frozenset())
        return allowed & expand(self.identity.scp) if self.key_id else allowed


def caller(request: Request) -> Caller:
    """The dependency every handler takes its caller from; edge.py has put it there."""
    who: Caller = request.scope["caller"]
    return who


Who = Annotated[Caller, Depends(caller)]
"""The annotation of a handler's parameter."""


@dataclass(frozen=True, slots=True)
class Access:
    """A rule. `scope` and `roles` empty: not asked for."""

    name: str
    identity: bool = True
    session: bool = False
    scope: str = ""
    roles: frozenset[str] = frozenset()


def scope(name: str) -> Access:
    """Any identity that holds this scope."""
    return Access(name, scope=name)


ANY: Final = Access("any", identity=False)
AUTH: Final = Access("auth")
SESSION: Final = Access("session", session=True)
VIEWER: Final = Access("viewer", scope="admin:read", roles=frozenset({"viewer", "admin"}))
ADMIN: Final = Access("admin", scope="admin:write", roles=frozenset({"admin"}))
RULES: Final[Mapping[str, Access]] = {
    rule.name: rule for rule in (ANY, AUTH, SESSION, VIEWER, ADMIN, scope("read"), scope("write"), scope("keys"))
}


def refusal(rule: Access, who: Caller) -> Problem | None:
    """Why this caller may not call a route with this rule; None: it may."""
    if not rule.identity:
        return None
    if who.identity is None:
        return Problem("authentication-required", headers={"WWW-Authenticate": 'Bearer realm="scalable-api"'})
    if rule.session and not who.session:
        return Problem("forbidden", "This needs a session; an API key will not do.", error="Forbidden")
    if rule.roles and who.role not in rule.roles:
        return Problem(
            "forbidden", f"This needs the role {' or '.join(sorted(rule.roles))}.", error="Admin access required"
        )
    if rule.scope and rule.scope not in who.scopes:
        return insufficient_scope(rule.scope)
    return None


def insufficient_scope(needed: str) -> Problem:
    challenge = f'Bearer realm="scalable-api", error="insufficient_scope", scope="{needed}"'
    return Problem(
        "insufficient-scope",
        f"This needs the scope {needed}.",
        headers={"WWW-Authenticate": challenge},
        requiredScope=needed,
    )


@dataclass(frozen=True, slots=True)
class Declared:
    """A route as a module declares it: what app.py hands to FastAPI."""

    method: str
    path: str
    endpoint: Callable[..., Any]
    access: Access
    csrf: bool
    body_limit: int
    options: Mapping[str, Any]


@dataclass
class AccessRouter:
    """Routes of one module. `access` is not optional: a route without a rule is a TypeError when the module is
    imported.
    """

    prefix: str = ""
    tags: tuple[str, ...] = ()
    declared: list[Declared] = field(default_factory=list)

    def route(
        self,
        method: str,
        path: str,
        *,
        access: Access,
        csrf: bool = True,
        body_limit: int = 1 << 20,
        **options: Any,
    ) -> Callable[[Endpoint], Endpoint]:
        """`options` are FastAPI's (status_code, response_model, responses, summary, include_in_schema, …). HEAD comes
        with GET (edge.py).
        """

        def declare(endpoint: Endpoint) -> Endpoint:
            merged = {"tags": list(self.tags), **options}
            self.declared.append(Declared(method, self.prefix + path, endpoint, access, csrf, body_limit, merged))
            return endpoint

        return declare

    def get(self, path: str, *, access: Access, **options: Any) -> Callable[[Endpoint], Endpoint]:
        return self.route("GET", path, access=access, **options)

    def post(self, path: str, *, access: Access, **options: Any) -> Callable[[Endpoint], Endpoint]:
        return self.route("POST", path, access=access, **options)

    def put(self, path: str, *, access: Access, **options: Any) -> Callable[[Endpoint], Endpoint]:
        return self.route("PUT", path, access=access, **options)

    def patch(self, path: str, *, access: Access, **options: Any) -> Callable[[Endpoint], Endpoint]:
        return self.route("PATCH", path, access=access, **options)

    def delete(self, path: str, *, access: Access, **options: Any) -> Callable[[Endpoint], Endpoint]:
        return self.route("DELETE", path, access=access, **options)
