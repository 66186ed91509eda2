"""API keys against real Postgres and Valkey: contract.md 1.5, idempotency, audit, two owners."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from services.api.db import OutcomeUnknownError
from services.core.credentials import key_hash, parse_key
from tests.harness.stores import Database, ValkeyServer
from tests.harness.wait import eventually
from tests.integration.api_process import ADMIN, ADMIN_SESSION, USER, USER_SESSION, Api, identity

KEYS = "/api/v1/keys"
ALL = "/api/v1/admin/keys"
BODY = {"name": "ci", "scopes": ["read", "write"]}
AGAIN = {"Idempotency-Key": '"8e03978e"'}


@pytest.fixture
async def api(database: Database, valkey: ValkeyServer) -> AsyncIterator[Api]:
    async with Api.open(database, valkey) as api:
        yield api


async def made(api: Api, who: Any = USER_SESSION, path: str = KEYS, **more: Any) -> dict[str, Any]:
    answer = await api.post(path, who, json={**BODY, **more})
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def test_create(api: Api) -> None:
    """The key is shown once and stored as its peppered hash; the record names prefix, state and limits; the deed is
    in the audit log.
    """
    body = await made(api)
    key, record = body["key"], body["apiKey"]
    name = parse_key(key.encode())
    assert name
    assert (name.env, name.prefix) == ("test", record["prefix"])
    assert record["status"] == "active"
    assert (record["tier"], record["dailyLimit"], record["userId"]) == ("free", 1_440_000, USER)
    (row,) = await api.sql(
        "SELECT key_hash, pepper_id, expires_at - created_at AS life FROM api_keys WHERE id = $1", name.id
    )
    assert row["key_hash"] == key_hash(bytes(range(1, 33)), key.encode())
    assert row["life"].days == 90
    assert await api.actions() == ["api_key.created"]
    assert (await api.get(f"{KEYS}/{name.id}", USER_SESSION)).json() == {"apiKey": record}


async def test_two_owners_are_apart(api: Api) -> None:
    """Q3, OWASP 1: no route shows or changes another owner's key: 404 as if missing; an admin's routes reach both."""
    theirs = (await made(api, ADMIN_SESSION))["apiKey"]["id"]
    mine = (await made(api))["apiKey"]["id"]
    calls = [
        ("GET", f"{KEYS}/{theirs}", None),
        ("PATCH", f"{KEYS}/{theirs}", {"name": "stolen"}),
        ("DELETE", f"{KEYS}/{theirs}", None),
        ("POST", f"{KEYS}/{theirs}/rotate", {}),
    ]
    for method, path, body in calls:
        answer = await api.send(method, path, USER_SESSION, json=body)
        missing = await api.send(method, path.replace(theirs, "0000000000"), USER_SESSION, json=body)
        assert answer.status_code == missing.status_code == 404
        assert answer.json()["detail"] == missing.json()["detail"]
    assert [key["id"] for key in (await api.get(KEYS, USER_SESSION)).json()["keys"]] == [mine]
    assert {key["id"] for key in (await api.get(ALL, ADMIN_SESSION)).json()["keys"]} == {mine, theirs}
    assert [key["id"] for key in (await api.get(f"{ALL}?userId={USER}", ADMIN_SESSION)).json()["keys"]] == [mine]
    assert (await api.sql("SELECT name, revoked_at FROM api_keys WHERE id = $1", theirs))[0]["name"] == "ci"


async def test_old_fault_14e(api: Api) -> None:
    """A tier the tiers document lacks is refused on write with 400, in both doors; the database refuses what is no
    tier's name at all.
    """
    for path, who, more in ((KEYS, USER_SESSION, {}), (ALL, ADMIN_SESSION, {"userId": USER})):
        answer = await api.post(path, who, json={**BODY, **more, "tier": "professional"})
        assert (answer.status_code, answer.json()["details"][0]["pointer"]) == (400, "/tier")
    with pytest.raises(asyncpg.CheckViolationError):
        await api.sql("UPDATE users SET tier = 'Professional!'")
    assert await api.sql("SELECT FROM api_keys") == []


async def test_tier_is_at_most_the_owners(api: Api) -> None:
    """An owner's key has their tier or a lower one; an admin gives any tier there is."""
    assert (await api.post(KEYS, USER_SESSION, json={**BODY, "tier": "pro"})).status_code == 403
    assert (await made(api, ADMIN_SESSION, tier="pro"))["apiKey"]["tier"] == "pro"
    assert (await made(api, ADMIN_SESSION, ALL, tier="enterprise", userId=USER))["apiKey"]["tier"] == "enterprise"
    nobody = await api.post(ALL, ADMIN_SESSION, json={**BODY, "userId": USER.replace("2", "9")})
    assert nobody.json()["details"][0]["pointer"] == "/userId"


async def test_nobody_hands_out_more_than_they_hold(api: Api) -> None:
    """A user's session cannot make an admin's key, nor a key with `keys` alone one with more."""
    scoped = identity(USER, "user", key="0123456789", scopes=("keys",))
    for who, scopes, needed in (
        (USER_SESSION, ["admin:read"], "admin:read"),
        (scoped, ["keys", "write"], "read"),
        (scoped, ["*"], "read"),
    ):
        answer = await api.post(KEYS, who, json={"name": "x", "scopes": scopes})
        assert (answer.status_code, answer.json()["requiredScope"]) == (403, needed)
    assert (await made(api, scoped, scopes=["keys"]))["apiKey"]["scopes"] == ["keys"]
    assert (await made(api, ADMIN_SESSION, scopes=["admin"]))["apiKey"]["scopes"] == ["admin:read", "admin:write"]
    beyond = await api.post(ALL, ADMIN_SESSION, json={"name": "x", "scopes": ["admin"], "userId": USER})
    assert (beyond.status_code, beyond.json()["details"][0]["pointer"]) == (400, "/scopes")


async def test_limit_per_owner_is_exact(api: Api) -> None:
    """Twelve requests at once of an owner who may have five keys: five are made, the others are 409 key-limit."""
    answers = await asyncio.gather(*(api.post(KEYS, USER_SESSION, json=BODY) for _ in range(12)))
    refused = [answer for answer in answers if answer.status_code != 201]
    assert len(answers) - len(refused) == 5
    assert {(a.status_code, a.json()["reason"]) for a in refused} == {(409, "key-limit")}
    first = next(answer for answer in answers if answer.status_code == 201).json()["apiKey"]["id"]
    await api.delete(f"{KEYS}/{first}", USER_SESSION)
    assert (await api.post(KEYS, USER_SESSION, json=BODY)).status_code == 201


async def test_lists(api: Api) -> None:
    """Newest first, paged, filtered by status, tier and name; wildcards are plain characters (Q2); bounds are 400
    (Q1).
    """
    ids = [(await made(api, ADMIN_SESSION, name=name))["apiKey"]["id"] for name in ("a%b", "axb", "A%Bc")]
    await api.delete(f"{KEYS}/{ids[1]}?reason=lost", ADMIN_SESSION)
    page = (await api.get(f"{KEYS}?limit=2", ADMIN_SESSION)).json()
    assert [key["id"] for key in page["keys"]] == [ids[2], ids[1]]
    assert page["pagination"] == {"page": 1, "limit": 2, "total": 3, "totalPages": 2, "hasMore": True}
    assert (await api.get(f"{KEYS}?page=9", ADMIN_SESSION)).json()["keys"] == []
    for query, found in (
        (f"q={'a%25b'}", {ids[0], ids[2]}),
        ("status=revoked", {ids[1]}),
        ("status=active", {ids[0], ids[2]}),
        (f"q={ids[1]}", {ids[1]}),
        ("tier=pro", set()),
    ):
        assert {key["id"] for key in (await api.get(f"{KEYS}?{query}", ADMIN_SESSION)).json()["keys"]} == found, query
    for query in (
        "page=0",
        "limit=101",
        "page=1.5",
        "page=",
        "page=1&page=2",
        "page=1000&limit=100",
        "status=dead",
        "tier=!",
        "userId=x",
        "x=1",
        "limit=%D9%A3",
    ):
        assert (await api.get(f"{KEYS}?{query}", ADMIN_SESSION)).status_code == 400, query


async def test_change(api: Api) -> None:
    """Name, fewer scopes, another end; more scopes, unknown members and a revoked key are refused."""
    key = (await made(api))["apiKey"]["id"]
    path = f"{KEYS}/{key}"
    changed = (
        await api.send("PATCH", path, USER_SESSION, json={"name": "new", "scopes": ["read"], "expiresAt": None})
    ).json()["apiKey"]
    assert (changed["name"], changed["scopes"], changed["expiresAt"]) == ("new", ["read"], None)
    cases = {"scopes": ["write"], "expiresAt": "2020-01-01T00:00:00Z", "tier": "pro", "userId": ADMIN, "name": "a\nb"}
    for member, value in cases.items():
        assert (await api.send("PATCH", path, USER_SESSION, json={member: value})).status_code == 400, member
    await api.delete(path, USER_SESSION)
    assert (await api.send("PATCH", path, USER_SESSION, json={"name": "x"})).json()["reason"] == "state"


async def test_revoke(api: Api) -> None:
    """204, and again 204; the first one's time and reason stay; the gateways hear of it at once."""
    key = (await made(api))["apiKey"]["id"]
    async with api.service.services.redis.pubsub() as pubsub:
        await pubsub.subscribe("inv:identity")
        await eventually(lambda: pubsub.get_message(timeout=1), 2, "subscribed")
        assert (await api.delete(f"{KEYS}/{key}?reason=lost", USER_SESSION)).status_code == 204
        message = await eventually(lambda: pubsub.get_message(timeout=1), 2, "a notice")
        assert message["data"] == f"key:{key}".encode()
    (first,) = await api.sql("SELECT revoked_at, revoke_reason, revoked_by FROM api_keys")
    assert (await api.delete(f"{KEYS}/{key}?reason=again", USER_SESSION)).status_code == 204
    assert [first] == await api.sql("SELECT revoked_at, revoke_reason, revoked_by FROM api_keys")
    assert (first["revoke_reason"], str(first["revoked_by"])) == ("lost", USER)
    assert (await api.actions()).count("api_key.revoked") == 1
    assert (await api.get(f"{KEYS}/{key}", USER_SESSION)).json()["apiKey"]["status"] == "revoked"


async def test_changes_by_hand_reach_the_gateways(api: Api) -> None:
    """An UPDATE in SQL is relayed to inv:identity, as a route's change is."""
    key = (await made(api))["apiKey"]["id"]
    await eventually(lambda: api.service._relay.alive, 5, "the relay listens")
    async with api.service.services.redis.pubsub() as pubsub:
        await pubsub.subscribe("inv:identity")
        await eventually(lambda: pubsub.get_message(timeout=1), 2, "subscribed")
        await api.sql("UPDATE api_keys SET revoked_at = now()")
        message = await eventually(lambda: pubsub.get_message(timeout=1), 2, "a notice")
    assert message["data"] == f"key:{key}".encode()


async def test_rotate(api: Api) -> None:
    """The successor has tier, scopes and override; the old key is `expiring` until its grace is over and is not
    counted; not twice.
    """
    old = (await made(api))["apiKey"]["id"]
    await api.sql(
        "INSERT INTO rate_limit_configs (identifier, requests_per_minute, reason, created_by) VALUES ($1, 7, 'x', $2)",
        f"key:{old}",
        ADMIN,
    )
    answer = await api.post(f"{KEYS}/{old}/rotate", USER_SESSION, json={"graceSeconds": 60})
    body = answer.json()
    assert answer.status_code == 201
    assert set(body) == {"key", "apiKey", "replaces"}
    assert body["replaces"]["id"] == body["apiKey"]["replaces"] == old
    assert body["apiKey"]["override"]["requestsPerMinute"] == 7
    before = (await api.get(f"{KEYS}/{old}", USER_SESSION)).json()["apiKey"]
    assert (before["status"], before["expiresAt"]) == ("expiring", body["replaces"]["expiresAt"])
    assert (await api.post(f"{KEYS}/{old}/rotate", USER_SESSION)).json()["reason"] == "state"
    second = await api.post(f"{KEYS}/{body['apiKey']['id']}/rotate", USER_SESSION, json={"graceSeconds": 0})
    assert second.status_code == 201
    gone = (await api.get(f"{KEYS}/{body['apiKey']['id']}", USER_SESSION)).json()["apiKey"]
    assert gone["status"] == "expired"
    assert (await api.get(f"{KEYS}?status=expiring", USER_SESSION)).json()["pagination"]["total"] == 1


async def test_idempotency(api: Api) -> None:
    """B6: a repeat is the first answer without the secret; another body is 422; another principal or route is another
    key.
    """
    first = await api.post(KEYS, USER_SESSION, json=BODY, headers=AGAIN)
    second = await api.post(KEYS, USER_SESSION, json=BODY, headers=AGAIN)
    assert (first.status_code, second.status_code, second.headers["idempotency-replayed"]) == (201, 201, "true")
    assert "idempotency-replayed" not in first.headers
    assert second.json() == {"apiKey": first.json()["apiKey"]}
    assert second.headers["location"] == first.headers["location"]
    other = await api.post(KEYS, USER_SESSION, json={**BODY, "name": "other"}, headers=AGAIN)
    assert (other.status_code, other.json()["code"]) == (422, "IDEMPOTENCY_MISMATCH")
    assert (await api.post(KEYS, ADMIN_SESSION, json=BODY, headers=AGAIN)).status_code == 201
    (row,) = await api.sql(
        "SELECT body, expires_at - created_at AS kept FROM idempotency_keys WHERE principal = $1", f"user:{USER}"
    )
    assert first.json()["key"].encode() not in row["body"]
    assert row["kept"].total_seconds() == 86_400
    assert len(await api.sql("SELECT FROM api_keys WHERE user_id = $1", USER)) == 1
    for header in ('""', "bare", '"' + "x" * 256 + '"', '"a" "b"', "?1"):
        assert (
            await api.post(KEYS, USER_SESSION, json=BODY, headers={"Idempotency-Key": header})
        ).status_code == 400, header


async def test_idempotency_at_once(api: Api) -> None:
    """Ten twins at once: one effect; each gets its answer, or 409 in-progress with Retry-After."""
    answers = await asyncio.gather(*(api.post(KEYS, USER_SESSION, json=BODY, headers=AGAIN) for _ in range(10)))
    statuses = {answer.status_code for answer in answers}
    assert len(await api.sql("SELECT FROM api_keys")) == 1
    assert statuses <= {201, 409}
    assert sum("key" in a.json() for a in answers if a.status_code == 201) == 1
    assert all(
        a.headers["retry-after"] == "1" and a.json()["reason"] == "in-progress" for a in answers if a.status_code == 409
    )


async def test_idempotency_keeps_refusals(api: Api) -> None:
    """A 409 of the effect is the answer of the key, also once its reason is gone; nothing of the effect stays."""
    ids = [(await made(api))["apiKey"]["id"] for _ in range(5)]
    first = await api.post(KEYS, USER_SESSION, json=BODY, headers=AGAIN)
    await api.delete(f"{KEYS}/{ids[0]}", USER_SESSION)
    second = await api.post(KEYS, USER_SESSION, json=BODY, headers=AGAIN)
    assert (first.status_code, second.status_code) == (409, 409)
    assert second.headers["content-type"] == "application/problem+json"
    assert second.json() == first.json()


async def test_commit_without_a_reply(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """F14: a keyed request whose COMMIT was done but not answered gets its answer all the same; unkeyed it is 503 and
    says so.
    """
    db = api.service.services.db
    real, lost = db.transaction, 0

    class Lost:
        """A transaction that commits, and whose reply is lost."""

        def __init__(self) -> None:
            self._real = real()

        async def __aenter__(self) -> Any:
            return await self._real.__aenter__()

        async def __aexit__(self, *error: object) -> None:
            nonlocal lost
            await self._real.__aexit__(None, None, None)
            lost += 1
            raise OutcomeUnknownError("connection lost")

    monkeypatch.setattr(db, "transaction", Lost)
    keyed = await api.post(KEYS, USER_SESSION, json=BODY, headers=AGAIN)
    unkeyed = await api.post(KEYS, USER_SESSION, json=BODY)
    assert (keyed.status_code, keyed.headers["idempotency-replayed"]) == (201, "true")
    assert (unkeyed.status_code, unkeyed.json()["dependency"]) == (503, "database")
    assert "unknown" in unkeyed.json()["detail"]
    assert lost == 2


async def test_expired_idempotency_keys_are_free_again(api: Api) -> None:
    """After 24 hours the same key is a new one."""
    await api.post(KEYS, USER_SESSION, json=BODY, headers=AGAIN)
    await api.sql("UPDATE idempotency_keys SET expires_at = now() - interval '1 second'")
    assert "idempotency-replayed" not in (await api.post(KEYS, USER_SESSION, json=BODY, headers=AGAIN)).headers


async def test_a_deed_without_its_audit_row_is_undone(api: Api) -> None:
    """If the audit row cannot be appended the key is not made, nor its idempotency row kept."""
    await api.sql("DROP FUNCTION audit_append")
    answer = await api.post(KEYS, USER_SESSION, json=BODY, headers=AGAIN)
    assert answer.status_code == 500
    assert "audit" not in answer.text
    assert await api.sql("SELECT FROM api_keys") == []
    assert await api.sql("SELECT FROM idempotency_keys") == []


async def test_a_key_is_its_owners_identity(api: Api) -> None:
    """A key with scope `keys` lists its owner's keys, and the audit log names the key that acted."""
    by_key = identity(USER, "user", key="0123456789", scopes=("keys",))
    await made(api, by_key, scopes=["keys"])
    (row,) = await api.sql("SELECT actor_type, actor_id, host(ip) AS ip FROM audit_log")
    assert (row["actor_type"], row["actor_id"], row["ip"]) == ("key", "0123456789", "192.0.2.1")
    assert (await api.get(KEYS, by_key)).json()["pagination"]["total"] == 1
    assert (await api.get(KEYS, replace(by_key, scp=("read",)))).json()["requiredScope"] == "keys"


async def test_gateway_view_sees_the_key(api: Api) -> None:
    """What the gateway's role reads of a new key is enough to verify it."""
    key = (await made(api))["key"]
    name = parse_key(key.encode())
    assert name
    connection = await asyncpg.connect(api.database.gateway)
    row = await connection.fetchrow("SELECT * FROM gateway_keys WHERE id = $1", name.id)
    await connection.close()
    assert row is not None
    assert (row["role"], row["tier"], row["scopes"], row["revoked_at"], row["disabled_at"]) == (
        "user",
        "free",
        ["read", "write"],
        None,
        None,
    )
