"""Logging in and out against real Postgres and Valkey: contract.md 1.2 and 4."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from services.api import csrf
from services.runtime import migrate
from services.runtime.http_client import client as control_client
from tests.harness.stores import Database, PostgresServer, ValkeyServer
from tests.harness.wait import eventually
from tests.integration.api_process import ADMIN, ADMIN_SESSION, SECRET, USER, Api, identity, signed

OLD_TOKENS = ("admin-token-dev", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.", "test", "ses_" + "0" * 43)


@pytest.fixture
async def api(database: Database, valkey: ValkeyServer) -> AsyncIterator[Api]:
    async with Api.open(database, valkey) as api:
        yield api


async def test_login(api: Api) -> None:
    """The answer has a 256-bit token, its end and the user; Redis knows the session by the token's hash; last_login
    moves.
    """
    answer = await api.log_in()
    body = answer.json()
    assert answer.status_code == 200
    assert set(body) == {"token", "expiresAt", "user"}
    assert body["user"] == {"id": USER, "email": "user@example.com", "role": "user", "tier": "free"}
    assert re.fullmatch(r"ses_[0-9A-Za-z]{43}", body["token"])
    assert await api.claims_of(body["token"])
    assert (await api.sql("SELECT last_login FROM users WHERE id = $1", USER))[0]["last_login"]
    assert await api.actions() == ["user.login"]


async def test_both_failures_are_one(api: Api) -> None:
    """Unknown e-mail, wrong password and a disabled account: the same status and body, each hashed once."""
    await api.sql("UPDATE users SET disabled_at = now() WHERE id = $1", ADMIN)
    answers = [
        await api.log_in("nobody@example.com", "user123"),
        await api.log_in("user@example.com", "wrong"),
        await api.log_in("admin@example.com", "admin123"),
    ]
    texts = {re.sub(r'"requestId":"\w+"', "", answer.text) for answer in answers}
    assert [answer.status_code for answer in answers] == [401] * 3
    assert len(texts) == 1
    assert answers[0].json()["code"] == "INVALID_CREDENTIALS"
    assert sum(api.service.services.metrics.argon2_seconds.counts) == 3


async def test_old_fault_7a(api: Api) -> None:
    """The 6th wrong password of an account from one network in 15 min is 429 before argon2, and so is then the right
    one; another network may.
    """
    for _ in range(5):
        assert (await api.log_in(password="wrong")).status_code == 401
    hashed = sum(api.service.services.metrics.argon2_seconds.counts)
    sixth, right = await api.log_in(password="wrong"), await api.log_in()
    assert (sixth.status_code, right.status_code) == (429, 429)
    assert sixth.json()["violated-policies"] == ["login-pair"]
    assert 0 < int(sixth.headers["retry-after"]) <= 900
    assert sum(api.service.services.metrics.argon2_seconds.counts) == hashed
    elsewhere = await api.post(
        "/api/v1/auth/login", address="198.51.100.7", json={"email": "user@example.com", "password": "user123"}
    )
    assert elsewhere.status_code == 200


async def test_success_clears_the_pair(api: Api) -> None:
    """Four failures, a success, four more failures: never locked out."""
    for _ in range(2):
        for _ in range(4):
            assert (await api.log_in(password="wrong")).status_code == 401
        assert (await api.log_in()).status_code == 200


async def test_five_failures_are_one_alarm(api: Api) -> None:
    """Seven failed log-ins of one address: seven notices, one security.brute_force; log-in and log-out raise none."""
    token = (await api.log_in()).json()["token"]
    await api.post("/api/v1/auth/logout", await api.claims_of(token))
    for n in range(7):
        await api.log_in(f"user{n}@example.com")
    rows = await api.sql("SELECT action, severity FROM audit_log ORDER BY seq")
    security = [row["action"] for row in rows if row["severity"] == "security"]
    assert security == ["security.brute_force"]
    assert sum(row["action"] == "user.login_failed" for row in rows) == 7


async def test_old_fault_7b(api: Api, postgres: PostgresServer) -> None:
    """Stored passwords are salted argon2id; both demo users can log in; neither exists in a database that is no
    demo's.
    """
    hashes = [row["password_hash"] for row in await api.sql("SELECT password_hash FROM users")]
    assert all(h.startswith("$argon2id$v=19$m=19456,t=2,p=1$") for h in hashes)
    assert len({h.split("$")[4] for h in hashes}) == 2
    assert (await api.log_in("admin@example.com", "admin123")).status_code == 200
    assert (await api.log_in("user@example.com", "user123")).status_code == 200
    async with postgres.database(template="template0") as other:
        await migrate.up(other.owner)
        await migrate.first_admin(other.owner, "admin@example.com", "another password")
        api.service.services.db._settings = api.service.services.settings.model_copy(update={"database_url": other.app})
        await api.service.services.db.close()
        await api.service.services.db.open()
        assert (
            await api.log_in(
                "admin@example.com",
                "admin123",
            )
        ).status_code == 401
        assert (await api.log_in("user@example.com", "user123")).status_code == 401
        await api.service.services.db.close()


async def test_old_fault_7c(api: Api, valkey: ValkeyServer) -> None:
    """No built-in token works, none after log-out; a dump of Redis holds no usable token; 1 000 tokens are all
    different.
    """
    tokens = [(await api.log_in()).json()["token"] for _ in range(3)]
    for token in OLD_TOKENS:
        assert await api.claims_of(token) is None
    redis = api.service.services.redis
    dump = [key async for key in redis.scan_iter()]
    dump += [value for key in dump if (value := await redis.dump(key))]
    assert not any(token[4:].encode() in entry for token in tokens for entry in dump)
    claims = await api.claims_of(tokens[0])
    assert (await api.post("/api/v1/auth/logout", claims)).json() == {"message": "Logged out successfully"}
    assert await api.claims_of(tokens[0]) is None
    assert await api.claims_of(tokens[1])
    assert len(set(tokens)) == 3


async def test_logout_tells_the_gateways(api: Api) -> None:
    """An ended session is said on inv:identity at once."""
    claims = await api.claims_of((await api.log_in()).json()["token"])
    assert claims
    async with api.service.services.redis.pubsub() as pubsub:
        await pubsub.subscribe("inv:identity")
        await eventually(lambda: pubsub.get_message(timeout=1), 2, "subscribed")
        await api.post("/api/v1/auth/logout", claims)
        message = await eventually(lambda: pubsub.get_message(timeout=1), 2, "a notice")
        assert message["data"] == f"sess:{claims.sid}".encode()


async def test_cookie_login(api: Api) -> None:
    """`cookie:true`: the token is in an HttpOnly cookie and nowhere else; on loopback without Secure, elsewhere
    __Host-.
    """
    plain = await api.log_in(cookie=True)
    assert set(plain.json()) == {"csrfToken", "expiresAt", "user"}
    assert plain.headers["set-cookie"].startswith("scalable_session=ses_")
    for part in ("HttpOnly", "Path=/", "SameSite=strict", "Max-Age=86"):
        assert part.lower() in plain.headers["set-cookie"].lower()
    assert "secure" not in plain.headers["set-cookie"].lower()
    body = {"email": "user@example.com", "password": "user123", "cookie": True}
    secure = await api.post(
        "/api/v1/auth/login", json=body, headers={"X-Forwarded-Proto": "https", "X-Forwarded-Host": "api.example.com"}
    )
    assert secure.headers["set-cookie"].startswith("__Host-scalable_session=ses_")
    assert "secure" in secure.headers["set-cookie"].lower()


async def test_csrf(api: Api) -> None:
    """K10: a cookie's unsafe request needs its own origin and its own session's token."""
    token = (await api.log_in(cookie=True)).headers["set-cookie"].partition("=")[2].partition(";")[0]
    claims = await api.claims_of(token, via="cookie")
    assert claims
    right, own = csrf.token(SECRET, claims.sid), str(api.http.base_url).rstrip("/")
    refused = [
        {},
        {"Origin": own},
        {"X-CSRF-Token": right},
        {"Origin": "https://evil.example", "X-CSRF-Token": right},
        {"Origin": "null", "X-CSRF-Token": right},
        {"Origin": own, "X-CSRF-Token": csrf.token(SECRET, "another session")},
        {"Sec-Fetch-Site": "cross-site", "X-CSRF-Token": right},
    ]
    for headers in refused:
        assert (await api.post("/api/v1/auth/logout", claims, headers=headers)).json()["code"] == "CSRF_FAILED"
    assert (await api.get("/api/v1/auth/sessions", claims)).status_code == 200
    ended = await api.post(
        "/api/v1/auth/logout", claims, headers={"Sec-Fetch-Site": "same-origin", "X-CSRF-Token": right}
    )
    assert ended.status_code == 200


async def test_sessions_are_ones_own(api: Api) -> None:
    """The list shows one's own; another's id is answered as if it were gone, and lives on."""
    mine, other = [(await api.log_in()).json()["token"] for _ in range(2)]
    theirs = (await api.log_in("admin@example.com", "admin123")).json()["token"]
    claims, admin = await api.claims_of(mine), await api.claims_of(theirs)
    second = await api.claims_of(other)
    assert claims
    assert admin
    assert second
    listed = (await api.get("/api/v1/auth/sessions", claims)).json()["sessions"]
    assert {entry["id"]: entry["current"] for entry in listed} == {claims.sid: True, second.sid: False}
    for sid in (admin.sid, second.sid, second.sid, "x"):
        assert (await api.delete(f"/api/v1/auth/sessions/{sid}", claims)).status_code == 204
    assert await api.claims_of(theirs)
    assert await api.claims_of(other) is None


async def test_logout_all(api: Api) -> None:
    """Every session of the user ends, the number is told; an API key has none to end."""
    tokens = [(await api.log_in()).json()["token"] for _ in range(3)]
    claims = await api.claims_of(tokens[0])
    assert (await api.post("/api/v1/auth/logout-all", claims)).json()["ended"] == 3
    assert [await api.claims_of(token) for token in tokens] == [None] * 3
    key = identity(USER, "user", key="0123456789", scopes=("*",))
    for path in ("logout", "logout-all"):
        assert (await api.post(f"/api/v1/auth/{path}", key)).status_code == 400


async def test_change_password(api: Api) -> None:
    """The old sessions end, the old password is void; a cookie's client gets a new session with the answer."""
    token = (await api.log_in(cookie=True)).headers["set-cookie"].partition("=")[2].partition(";")[0]
    bystander = (await api.log_in()).json()["token"]
    claims = await api.claims_of(token, via="cookie")
    assert claims
    headers = {"Origin": str(api.http.base_url).rstrip("/"), "X-CSRF-Token": csrf.token(SECRET, claims.sid)}
    path = "/api/v1/auth/password"
    cases = {
        ("wrong", "a long enough password"): 401,
        ("user123", "short"): 400,
        ("user123", "my name is User, hello"): 400,
        ("user123", "a long enough password"): 204,
    }
    for (current, new), status in cases.items():
        answer = await api.send(
            "PUT", path, claims, headers=headers, json={"currentPassword": current, "newPassword": new}
        )
        assert answer.status_code == status, answer.text
    assert await api.claims_of(token) is None
    assert await api.claims_of(bystander) is None
    fresh = answer.headers["set-cookie"].partition("=")[2].partition(";")[0]
    assert await api.claims_of(fresh)
    assert (await api.log_in()).status_code == 401
    assert (await api.log_in(password="a long enough password")).status_code == 200


async def test_admin_door(api: Api) -> None:
    """An admin gets a cookie and sees themself; a user is told 403 and has no session; a key has no session part."""
    entered = await api.post("/api/v1/admin/login", json={"email": "admin@example.com", "password": "admin123"})
    assert entered.status_code == 200
    assert "csrfToken" in entered.json()
    token = entered.headers["set-cookie"].partition("=")[2].partition(";")[0]
    me = (await api.get("/api/v1/admin/me", await api.claims_of(token))).json()
    assert me["user"]["role"] == "admin"
    assert me["session"]["csrfToken"] == entered.json()["csrfToken"]
    refused = await api.post("/api/v1/admin/login", json={"email": "user@example.com", "password": "user123"})
    assert (refused.status_code, "set-cookie" in refused.headers) == (403, False)
    key = identity(ADMIN, "admin", key="0123456789", scopes=("admin:read",))
    assert (await api.get("/api/v1/admin/me", key)).json()["session"] is None


async def test_one_time_link(api: Api) -> None:
    """K13: the link of the control port logs in once; a second time and a guessed one are 401."""
    token = (await api.service.services.links.make()).token
    assert len(token) >= 43
    first = await api.post("/api/v1/auth/link", json={"token": token})
    assert first.json()["user"]["id"] == ADMIN
    assert "set-cookie" in first.headers
    again = await api.post("/api/v1/auth/link", json={"token": token})
    guess = await api.post("/api/v1/auth/link", json={"token": "x" * 43})
    assert (again.status_code, guess.status_code) == (401, 401)
    assert 590 <= await _ttl(api) <= 600


async def test_at_most_two_hashes(api: Api) -> None:
    """K9: of 30 log-ins at once 18 are hashed, the others are 429 (login-pool) at once."""
    answers = await asyncio.gather(*(api.log_in(f"user{n}@example.com") for n in range(30)))
    full = [a for a in answers if a.status_code == 429]
    assert {a.json()["violated-policies"][0] for a in full} == {"login-pool"}
    assert {a.status_code for a in answers} == {401, 429}
    assert all(int(a.headers["retry-after"]) >= 1 for a in full)


async def test_touch_moves_the_idle_end(api: Api) -> None:
    """A session that is used lives on, and says when it was seen; never longer than its absolute life."""
    claims = await api.claims_of((await api.log_in()).json()["token"])
    assert claims
    redis, name = api.service.services.redis, f"sess:{claims.sid}"
    await redis.pexpire(name, 5000)
    await api.get("/api/v1/auth/sessions", claims)
    await eventually(lambda: _longer(redis, name), 2, "the idle end moved")


async def test_a_late_touch_revives_nothing(api: Api) -> None:
    """A touch that arrives after the end of a session does not bring it back."""
    claims = await api.claims_of((await api.log_in()).json()["token"])
    assert claims
    await api.service.services.sessions.end(claims.sid, USER)
    await api.service.services.sessions._seen(claims.sid)
    assert await api.service.services.redis.exists(f"sess:{claims.sid}") == 0


async def test_redis_away(database: Database, own_valkey: ValkeyServer) -> None:
    """Nobody is told that a password is wrong, or right, while there can be no session: 503, nothing hashed."""
    async with Api.open(database, own_valkey) as api:
        own_valkey.kill()
        answer = await api.log_in()
        assert (answer.status_code, answer.json()["dependency"]) == (503, "redis")
        assert sum(api.service.services.metrics.argon2_seconds.counts) == 0


async def test_postgres_away(valkey: ValkeyServer, database: Database) -> None:
    """503 with the dependency's name; from the second request on within 100 ms (P6)."""
    nowhere = replace(database, app="postgresql://nobody@127.0.0.1:1/none")
    async with Api.open(nowhere, valkey) as api:
        for _ in range(2):
            answer = await api.log_in()
            assert (answer.status_code, answer.json()["dependency"]) == (503, "database")
        print(f"login without Postgres, from the second on: {answer.elapsed.total_seconds() * 1000:.0f} ms")
        assert answer.elapsed.total_seconds() < 1


async def test_bad_bodies(api: Api) -> None:
    """K8, B1 to B4: refused before anything is hashed, each with its status and pointer."""
    path = "/api/v1/auth/login"
    cases: list[tuple[str, dict[str, str], int, str]] = [
        ('{"email":"a@b","password":"' + "x" * 129 + '"}', {}, 400, "/password"),
        ('{"email":"' + "x" * 255 + '","password":"x"}', {}, 400, "/email"),
        ('{"email":"a@b","password":"x","role":"admin"}', {}, 400, "/role"),
        ('{"email":"a@b","email":"c@d","password":"x"}', {}, 400, "/email"),
        ('{"email":"a@b","password":"a\\u0000b"}', {}, 400, "/password"),
        ('{"email":"a@b","password":NaN}', {}, 400, "/password"),
        ('{"email":"a@b","password":5}', {}, 400, "/password"),
        ("{", {}, 400, ""),
        ("", {}, 400, ""),
        ("[]", {}, 400, ""),
        ("x" * 5000, {}, 413, ""),
        ("{}", {"Content-Type": "text/plain"}, 415, ""),
        ("{}", {"Content-Type": "application/json; charset=latin-1"}, 415, ""),
        ("{}", {"Content-Encoding": "gzip"}, 415, ""),
    ]
    for body, headers, status, pointer in cases:
        answer = await api.post(path, content=body, headers={"Content-Type": "application/json", **headers})
        assert answer.status_code == status, (body[:60], answer.text)
        if pointer:
            assert answer.json()["details"][0]["pointer"] == pointer, answer.text
    empty = await api.post(path, json={})
    assert empty.json()["error"] == "Email and password required"
    assert sum(api.service.services.metrics.argon2_seconds.counts) == 0


async def test_identity_header(api: Api) -> None:
    """K11: forged, altered, old or of another version: 401 INVALID_TOKEN, also on open routes; absent: anonymous."""
    from services.core.identity import sign

    good = signed(ADMIN_SESSION)
    old = sign(replace(ADMIN_SESSION, exp=int(time.time()) - 200), SECRET).decode()
    forged = signed(ADMIN_SESSION, b"another secret of thirty-two byte")
    for value in (good[:-2] + "xx", old, forged, good.replace("v1", "v2"), "junk"):
        answer = await api.http.get("/api/v1/admin/me", headers={"X-Gateway-Identity": value})
        assert (answer.status_code, answer.json()["code"]) == (401, "INVALID_TOKEN")
    assert (await api.get("/api/v1/admin/me")).json()["code"] == "AUTH_REQUIRED"
    assert (await api.http.get("/api/v1/admin/me", headers={"X-Gateway-Identity": good})).status_code == 200


async def test_common_headers(api: Api) -> None:
    """Every answer says who served it and is not stored; HEAD is GET without a body; unknown paths and methods say
    so.
    """
    got, head = (
        await api.get("/api/v1/admin/me", ADMIN_SESSION),
        await api.send("HEAD", "/api/v1/admin/me", ADMIN_SESSION),
    )
    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["content-length"] == str(len(got.content))
    for name, value in (("x-served-by", "api-1"), ("cache-control", "no-store")):
        assert got.headers[name] == value
    assert 0 <= int(got.headers["x-api-load"]) <= 100
    wrong = await api.send("PATCH", "/api/v1/admin/me", ADMIN_SESSION)
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, HEAD")
    assert (await api.get("/api/v1/nowhere")).json()["path"] == "/api/v1/nowhere"
    assert (await api.get("/api/v1/admin/me?x=1", ADMIN_SESSION)).json()["details"][0]["pointer"] == "?x"


async def test_deadline(api: Api) -> None:
    """X-Request-Timeout-Ms cancels the work: 504, and the lock it waited for is not taken later."""
    import asyncpg

    holder = await asyncpg.connect(api.database.owner)
    async with holder.transaction():
        await holder.execute("LOCK TABLE audit_head")
        claims = await api.claims_of(await _token(api))
        answer = await api.post("/api/v1/auth/logout", claims, headers={"X-Request-Timeout-Ms": "200"})
        assert (answer.status_code, answer.json()["code"]) == (504, "TIMEOUT")
    await holder.close()
    assert claims
    assert await api.service.services.redis.exists(f"sess:{claims.sid}") == 1


async def test_control_route_makes_links(api: Api) -> None:
    """`POST /control/v1/login-link` is among the routes the control port gets."""
    paths = {route.path for router in api.service._runtime.routers for route in router.routes}  # type: ignore[attr-defined]
    assert "/control/v1/login-link" in paths
    assert json.loads((await api.service.services.links.make()).model_dump_json(by_alias=True))["expiresAt"].endswith(
        "Z"
    )
    await control_client().aclose()


async def _token(api: Api) -> str:
    """A session made without the audit log."""
    from services.api.sessions import SessionUser

    token, _ = await api.service.services.sessions.create(SessionUser(USER, "user@example.com", "user", "free"), "", "")
    return token


async def _ttl(api: Api) -> int:
    await api.service.services.links.make()
    (name,) = [key async for key in api.service.services.redis.scan_iter("login-link:*")]
    return int(await api.service.services.redis.ttl(name))


async def _longer(redis: object, name: str) -> bool:
    return await redis.pttl(name) > 5000  # type: ignore[attr-defined, no-any-return]
