"""The wiring's own promises: no route without a rule, and the whole matrix of who may call what."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute

from services.api.access import ANY, IMPLIED, ROLE_SCOPES, RULES, AccessRouter, expand
from services.api.app import ROUTERS, ApiService, UnguardedRouteError, build, check_guarded
from services.core.identity import Claims
from tests.unit.api.offline import claims, client, offline, signed

ROOT = Path(__file__).resolve().parents[3]
SCOPES = ("read", "write", "keys", "admin:read", "admin:write", "*", "admin")
ROLES = ("user", "viewer", "admin")
NAMES = {"read", "write", "keys", "admin:read", "admin:write"}


def routes(service: ApiService) -> Iterator[tuple[str, str, str]]:
    for route in service.app.router.routes:
        assert isinstance(route, APIRoute)
        assert route.openapi_extra
        for method in route.methods or set():
            yield method, re.sub(r"\{[^}]*\}", "0123456789", route.path), route.openapi_extra["x-access"]


def callers() -> Iterator[Claims | None]:
    """Nobody, a session of each role, a key of each role with none, each one, and some pairs of scopes."""
    yield None
    for role in ROLES:
        yield claims(role)
        for count in (0, 1, 2):
            for scopes in combinations(SCOPES, count):
                yield claims(role, key="0123456789", scopes=scopes)


def expected(rule: str, who: Claims | None) -> tuple[int, str]:
    """contract.md 1 and 4, written down a second time: status and code, 0 for `may`."""
    if rule == "any":
        return 0, ""
    if who is None:
        return 401, "AUTH_REQUIRED"
    may = ROLE_SCOPES[who.role] & (expand(who.scp) if who.kid else NAMES)
    if rule == "session":
        return (403, "FORBIDDEN") if who.kid else (0, "")
    if rule in {"viewer", "admin"}:
        role_fits = who.role == "admin" or (rule == "viewer" and who.role == "viewer")
        scope = "admin:read" if rule == "viewer" else "admin:write"
        return (403, "FORBIDDEN") if not role_fits else (0, "") if scope in may else (403, "INSUFFICIENT_SCOPE")
    return (0, "") if rule == "auth" or rule in may else (403, "INSUFFICIENT_SCOPE")


async def test_old_fault_7e() -> None:
    """Every declared route with every role and scopes: exactly the contract's answer, and a `read` key is 403
    insufficient-scope on each write route.
    """
    service = offline()
    async with client(service) as http:
        for method, path, rule in routes(service):
            if path.startswith(("/health", "/ready", "/metrics")):
                continue
            for who in callers():
                status, code = expected(rule, who)
                if status == 0:
                    continue
                answer = await http.request(method, path, headers=signed(who))
                assert (answer.status_code, answer.json()["code"]) == (status, code), (method, path, who)
                assert "www-authenticate" in answer.headers or code == "FORBIDDEN"
    assert {rule for _, _, rule in routes(service)} <= set(RULES)


async def test_those_who_may_are_let_through() -> None:
    """A session of the right role is never told 401 or 403 by a rule: what comes then is the route's own answer."""
    service = offline()
    who = claims("admin")
    async with client(service) as http:
        for method, path, rule in routes(service):
            if method == "GET" or rule == "any":
                continue
            answer = await http.request(method, path, headers=signed(who), content=b"x")
            assert answer.status_code not in {401, 403}, (method, path, answer.text)


def test_a_route_without_a_rule_stops_the_start() -> None:
    """Added past the AccessRouter, it is found before anything is served."""
    service = offline()
    plain = APIRouter()
    plain.add_api_route("/open", lambda: None)
    service.app.router.routes.append(plain.routes[0])
    with pytest.raises(UnguardedRouteError, match="/open"):
        check_guarded(service.app)


def test_a_rule_is_not_optional() -> None:
    """Forgetting it is a TypeError where the route is declared."""
    with pytest.raises(TypeError):
        AccessRouter().get("/x")  # type: ignore[call-arg]


def test_routes_are_declared_once() -> None:
    """No method and path twice: the second would never be reached."""
    declared = [(route.method, route.path) for router in ROUTERS for route in router.declared]
    assert len(declared) == len(set(declared))


def test_build_takes_any_routers() -> None:
    """A test may serve a part of the api."""
    router = AccessRouter("/x")
    router.get("", access=ANY)(_nothing)
    assert len(build(offline().services, [router]).router.routes) == 1


def _nothing() -> None:
    return None


def test_implied_scopes_are_scopes() -> None:
    """Nothing is implied that no role could hold."""
    assert set().union(*IMPLIED.values()) <= NAMES


def test_old_fault_16() -> None:
    """Every table and view that SQL in services/ names exists in db/schema.sql."""
    schema = (ROOT / "db" / "schema.sql").read_text()
    there = set(re.findall(r"^CREATE (?:TABLE|VIEW) (\w+)", schema, re.MULTILINE))
    read = re.compile(r"(?<!epoch )(?<!DISTINCT )\b(?:FROM|JOIN)\s+([a-z_][a-z_.]*)\b(?!\s*\()", re.IGNORECASE)
    written = re.compile(r"\b(?:INTO|(?<!KEY )(?<!FOR )UPDATE)\s+([a-z_][a-z_.]*)", re.IGNORECASE)
    files = [*ROOT.glob("services/**/*.sql"), *ROOT.glob("db/*.sql")]
    for file in files:
        if file.name in {"schema.sql", "schema_dump.sql"}:
            continue
        text = re.sub(r"--.*|'[^']*'", "", file.read_text())
        own = {name.lower() for name in re.findall(r"(?:WITH|,)\s*(\w+)\s+AS\s*\(", text, re.IGNORECASE)}
        named = {name.removeprefix("public.") for name in read.findall(text) + written.findall(text)}
        unknown = {
            n for n in named if n.lower() not in own and not n.startswith("pg_") and n not in {"PUBLIC", "SET", "OF"}
        }
        assert unknown <= there, f"{file.name}: {unknown - there}"
