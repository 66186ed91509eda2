"""A client's whole journey over plain HTTP: one gateway, one balancer, two apis, real stores, demo rows.

Log in, make a key, write and read, be limited and come back, lose the key. Figures are printed: `pytest -s`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import httpx
import pytest

from services.schema.tiers import BUILT_IN, Policy, Tier
from tests.harness.fleet import Fleet
from tests.harness.stores import Database, ValkeyServer
from tests.harness.wait import eventually

USER = {"email": "user@example.com", "password": "user123"}
STATUS = "/api/v1/status"
RESOURCES = "/api/v1/resources"
ENOUGH = 200  # requests after which an api that was never chosen is never chosen


@pytest.fixture
async def fleet(database: Database, valkey: ValkeyServer) -> AsyncIterator[Fleet]:
    async with Fleet(database, valkey, gateways=1, balancers=1, apis=2) as running:
        yield running


async def bearer(http: httpx.AsyncClient) -> dict[str, str]:
    answer = await http.post("/api/v1/auth/login", json=USER)
    assert answer.status_code == 200, answer.text
    return {"authorization": f"Bearer {answer.json()['token']}"}


async def new_key(http: httpx.AsyncClient, session: dict[str, str]) -> tuple[str, dict[str, str]]:
    """(id, headers) of a fresh key that may read and write."""
    body = {"name": "journey", "scopes": ["read", "write"]}
    answer = await http.post("/api/v1/keys", headers=session, json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()["apiKey"]["id"], {"x-api-key": answer.json()["key"]}


async def early_in_the_minute() -> None:
    """Windows begin with the minute: whoever counts one full quota waits out a minute that is about to end."""
    await eventually(lambda: time.time() % 60 < 50, 11, "a fresh enough minute")


async def test_log_in_write_read(fleet: Fleet) -> None:
    """Log in, create a key, write a resource with it; the first read is a miss, each later one a hit, and `servedBy`
    takes every api's id; its tag brings 304, a wrong tag 412 and nothing is changed.
    """
    async with fleet.client() as http:
        _, key = await new_key(http, await bearer(http))
        assert (await http.get("/api/v1/me", headers=key)).json()["via"] == "key"
        made = await http.post(RESOURCES, headers=key, json={"name": "mine", "type": "document", "content": "hello"})
        assert made.status_code == 201
        path, etag = made.headers["location"], made.headers["etag"]
        first = await http.get(path, headers=key)
        assert (first.status_code, first.headers["x-cache"], first.json()["cached"]) == (200, "MISS", False)
        assert first.json()["resource"] == made.json()["resource"]
        apis = {node.id for node in fleet.api_nodes}
        hits: dict[str, int] = {}
        while hits.keys() != apis:
            again = await http.get(path, headers=key)
            assert (again.headers["x-cache"], again.json()["cached"]) == ("HIT", True)
            assert again.json()["resource"] == first.json()["resource"]
            assert again.json()["servedBy"] == again.headers["x-served-by"]
            hits[again.json()["servedBy"]] = hits.get(again.json()["servedBy"], 0) + 1
            assert sum(hits.values()) < ENOUGH, hits
        unchanged = await http.get(path, headers=key | {"if-none-match": etag})
        assert (unchanged.status_code, unchanged.content, unchanged.headers["etag"]) == (304, b"", etag)
        body = {"name": "theirs", "type": "document"}
        refused = await http.put(path, headers=key | {"if-match": '"0-0"'}, json=body)
        assert (refused.status_code, refused.json()["currentETag"]) == (412, etag)
        assert (await http.get(path, headers=key)).json()["resource"]["name"] == "mine"
        changed = await http.put(path, headers=key | {"if-match": etag}, json=body)
        assert (changed.status_code, changed.json()["resource"]["name"]) == (200, "theirs")
        print(f"miss by {first.json()['servedBy']}, then hits by {hits}; 304, 412")


async def test_the_101st_anonymous_request_is_refused(fleet: Fleet) -> None:
    """By the built-in document: 100 requests of an address in a minute pass, the 101st is 429 by the gateway with a
    wait within the window; a forged X-Forwarded-For neither opens a new quota nor spends another's.
    """
    await early_in_the_minute()
    async with fleet.client(source="127.0.0.61") as http, fleet.client(source="127.0.0.62") as other:
        left = []
        for number in range(100):
            forged = {"x-forwarded-for": f"198.51.100.{number}"} if number % 2 else {}
            answer = await http.get(STATUS, headers=forged)
            assert answer.status_code == 200
            left.append(int(answer.headers["x-ratelimit-remaining"]))
        assert left == list(range(99, -1, -1))
        for forged in ({}, {"x-forwarded-for": "203.0.113.9"}, {"x-forwarded-for": "127.0.0.62"}):
            answer = await http.get(STATUS, headers=forged)
            assert (answer.status_code, answer.headers["x-served-by"]) == (429, "gateway-1")
            assert answer.json()["violated-policies"] == ["anonymous"]
            assert 1 <= int(answer.headers["retry-after"]) <= 60 + 5
        print(f"101st: {answer.status_code}, Retry-After {answer.headers['retry-after']}")
        untouched = await other.get(STATUS, headers={"x-forwarded-for": "127.0.0.61"})
        assert (untouched.status_code, untouched.headers["x-ratelimit-remaining"]) == (200, "99")


async def test_retry_after_is_honest(database: Database, valkey: ValkeyServer) -> None:
    """With 20 requests in 3 s: who was refused is admitted after Retry-After, which is no longer than the window and
    its jitter; five times out of five.
    """
    policy = Policy(name="anonymous", quota=20, window=3)
    tiny = Tier(name="anonymous", criticality="sheddable", policies=(policy,))
    spec = BUILT_IN.spec.model_copy(update={"tiers": (tiny, *BUILT_IN.spec.tiers[1:])})

    async def wait_out(fleet: Fleet, source: str) -> tuple[int, int, int]:
        """(admitted before the refusal, Retry-After, status after it) of one address."""
        async with fleet.client(source=source) as http:
            admitted = 0
            while (refused := await http.get(STATUS)).status_code == 200:
                admitted += 1
                assert admitted < 60
            retry_after = int(refused.headers["retry-after"])
            assert refused.status_code == 429
            await asyncio.sleep(retry_after)  # what the answer told the client to do
            return admitted, retry_after, (await http.get(STATUS)).status_code

    async with Fleet(database, valkey, apis=1, tiers=spec) as fleet:
        found = await asyncio.gather(*(wait_out(fleet, f"127.0.0.{n}") for n in range(71, 76)))
    print(f"(admitted, Retry-After, then): {found}")
    for admitted, retry_after, status in found:
        assert 20 <= admitted < 40
        assert 1 <= retry_after <= 3 + 1
        assert status == 200


async def test_a_revoked_key_is_refused(fleet: Fleet) -> None:
    """A key that its owner revokes by DELETE is 401 at the gateway within 2 s; the owner's session goes on."""
    async with fleet.client() as http:
        session = await bearer(http)
        key_id, key = await new_key(http, session)
        assert (await http.get(STATUS, headers=key)).status_code == 200
        assert (await http.delete(f"/api/v1/keys/{key_id}", headers=session)).status_code == 204
        revoked_at = time.monotonic()

        async def refused() -> httpx.Response | None:
            answer = await http.get(STATUS, headers=key)
            return answer if answer.status_code == 401 else None

        answer = await eventually(refused, 2.0, "the key is refused", 0.005)
        print(f"revoked key refused after {(time.monotonic() - revoked_at) * 1000:.0f} ms")
        assert answer.headers["x-served-by"] == "gateway-1"
        assert (await http.get(STATUS, headers=session)).status_code == 200
