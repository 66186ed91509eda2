from __future__ import annotations

import pytest

from tests.unit.api.offline import claims, client, offline, signed


@pytest.mark.parametrize("path", ["/api/v1/auth/login", "/api/v1/admin/login"])
async def test_login_bodies(path: str) -> None:
    """The old sentence for what is missing; 4 KiB at most; nothing unknown; the admin's door has no `cookie`."""
    async with client(offline()) as http:
        assert (await http.post(path, json={"email": "a@b.c"})).json()["error"] == "Email and password required"
        assert (await http.post(path, json={"email": "", "password": "x"})).json()[
            "error"
        ] == "Email and password required"
        assert (
            await http.post(path, content=b" " * 4097, headers={"content-type": "application/json"})
        ).status_code == 413
        extra = await http.post(path, json={"email": "a@b.c", "password": "x", "cookie": "yes"})
        assert extra.json()["details"][0]["pointer"] == "/cookie"


async def test_stores_away() -> None:
    """503 with the dependency, never 401: an outage logs nobody out and tells nobody that a password is wrong."""
    async with client(offline()) as http:
        answer = await http.post("/api/v1/auth/login", json={"email": "a@b.c", "password": "x"})
        assert (answer.status_code, answer.json()["dependency"]) == (503, "redis")
        listed = await http.get("/api/v1/auth/sessions", headers=signed(claims("user")))
        assert (listed.status_code, listed.headers["retry-after"]) == (503, "1")


async def test_a_key_has_no_session() -> None:
    """Logging it out is a mistake, told before any store is asked."""
    async with client(offline()) as http:
        answer = await http.post("/api/v1/auth/logout", headers=signed(claims("user", key="0123456789", scopes=("*",))))
        assert (answer.status_code, answer.json()["code"]) == (400, "VALIDATION_FAILED")
