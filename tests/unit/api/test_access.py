from __future__ import annotations

import pytest

from services.api.access import (
    ADMIN,
    ANY,
    AUTH,
    ROLE_SCOPES,
    SESSION,
    VIEWER,
    AccessRouter,
    Caller,
    expand,
    refusal,
    scope,
)
from tests.unit.api.offline import USER, claims


def who(role: str = "", **more: object) -> Caller:
    return Caller(claims(role, **more) if role else None, "192.0.2.1", "r1")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rule", "caller", "slug"),
    [
        (ANY, who(), None),
        (AUTH, who(), "authentication-required"),
        (AUTH, who("user"), None),
        (SESSION, who("user", key="0123456789", scopes=("*",)), "forbidden"),
        (SESSION, who("user"), None),
        (VIEWER, who("user"), "forbidden"),
        (VIEWER, who("viewer"), None),
        (VIEWER, who("viewer", key="0123456789", scopes=("read",)), "insufficient-scope"),
        (ADMIN, who("viewer"), "forbidden"),
        (ADMIN, who("admin", key="0123456789", scopes=("admin:read",)), "insufficient-scope"),
        (ADMIN, who("admin", key="0123456789", scopes=("admin",)), None),
        (scope("write"), who("user", key="0123456789", scopes=("read",)), "insufficient-scope"),
        (scope("read"), who("user", key="0123456789", scopes=("write",)), None),
    ],
)
def test_refusal(rule: object, caller: Caller, slug: str | None) -> None:
    """Each rule lets in exactly whom contract.md 1 says."""
    problem = refusal(rule, caller)  # type: ignore[arg-type]
    assert (problem.slug if problem else None) == slug


def test_a_key_never_exceeds_its_owner() -> None:
    """`*` of a user's key is what the user may, not more; an unknown role may nothing."""
    assert who("user", key="0123456789", scopes=("*", "admin")).scopes == ROLE_SCOPES["user"]
    assert who("viewer").scopes == ROLE_SCOPES["viewer"]
    assert who().scopes == frozenset()


def test_principal() -> None:
    """contract.md 5's identifiers."""
    assert who().principal == "ip:192.0.2.1"
    assert who("user").principal == f"user:{USER}"
    assert who("user", key="0123456789").principal == "key:0123456789"
    assert (who().user_id, who().role, who().session, who().key_id) == ("", "", "", "")


def test_expand() -> None:
    """write implies read, admin:write implies admin:read, the old `admin` is both, `*` everything."""
    assert expand(["write"]) == {"write", "read"}
    assert expand(["admin"]) == expand(["admin:write"]) == {"admin:read", "admin:write"}
    assert expand(["*"]) == ROLE_SCOPES["admin"]
    assert expand([]) == frozenset()


def test_a_scope_refusal_names_the_scope() -> None:
    """In the body and in WWW-Authenticate."""
    problem = refusal(scope("write"), who("user", key="0123456789", scopes=("read",)))
    assert problem
    assert problem.facts["requiredScope"] == "write"
    assert 'scope="write"' in problem.headers["WWW-Authenticate"]


def test_router_collects_what_is_declared() -> None:
    """Method, whole path and rule, in order; options go on to FastAPI."""
    router = AccessRouter("/a", ("t",))
    router.get("", access=ANY, summary="s")(lambda: None)
    router.put("/b", access=ADMIN, csrf=False, body_limit=5)(lambda: None)
    assert [(d.method, d.path, d.access.name, d.csrf, d.body_limit) for d in router.declared] == [
        ("GET", "/a", "any", True, 1 << 20),
        ("PUT", "/a/b", "admin", False, 5),
    ]
    assert router.declared[0].options == {"tags": ["t"], "summary": "s"}
