"""Resources over real Postgres and Valkey: contract.md 1.3, reliability.md B and Q rows that concern them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.harness.stores import Database, ValkeyServer
from tests.integration.api_process import ADMIN, ADMIN_SESSION, USER, USER_SESSION, Api, identity

PATH = "/api/v1/resources"
BODY = {"name": "A name", "type": "document", "content": "text", "metadata": {"a": [1, 2.5, None]}}


@pytest.fixture
async def api(database: Database, valkey: ValkeyServer) -> AsyncIterator[Api]:
    async with Api.open(database, valkey) as api:
        yield api


async def create(api: Api, **members: Any) -> dict[str, Any]:
    answer = await api.post(PATH, USER_SESSION, json=BODY | members)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()["resource"]
    return found


async def test_create(api: Api) -> None:
    """201 with the whole thing, its address and its tag; the creator is the caller."""
    answer = await api.post(PATH, USER_SESSION, json=BODY)
    made = answer.json()["resource"]
    assert answer.status_code == 201
    assert set(answer.json()) == {"resource", "servedBy"}
    assert answer.json()["servedBy"] == "api-1"
    assert made | BODY == made
    assert (made["createdBy"], made["updatedBy"]) == (USER, USER)
    assert answer.headers["location"] == f"{PATH}/{made['id']}"
    assert answer.headers["etag"] == f'"{made["id"]}-1"'
    assert made["createdAt"].endswith("Z")


async def test_read(api: Api) -> None:
    """The first read asks the database, the second does not; the answer says which, and its tag is the version's."""
    first, second = await api.get(f"{PATH}/1"), await api.get(f"{PATH}/1")
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.json()["resource"]["name"] == "Resource 1"
    assert [r.json()["cached"] for r in (first, second)] == [False, True]
    assert [r.headers["x-cache"] for r in (first, second)] == ["MISS", "HIT"]
    assert first.headers["cache-status"] == "scalable-l2; fwd=miss; stored, scalable-l1; fwd=miss; stored"
    assert second.headers["cache-status"].startswith("scalable-l1; hit; ttl=")
    assert first.headers["etag"] == '"1-1"'
    assert first.headers["cache-control"] == "no-cache"


async def test_conditional_reads(api: Api) -> None:
    """If-None-Match with the tag, its compressed form, a list, or *: 304 without a body; another tag: the thing."""
    for condition in ('"1-1"', 'W/"1-1"', '"1-1-gz"', '"x", "1-1"', "*"):
        answer = await api.get(f"{PATH}/1", headers={"If-None-Match": condition})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", '"1-1"')
    assert (await api.get(f"{PATH}/1", headers={"If-None-Match": '"1-2"'})).status_code == 200
    page = await api.get(PATH)
    again = await api.get(PATH, headers={"If-None-Match": page.headers["etag"]})
    assert again.status_code == 304


async def test_compressed(api: Api) -> None:
    """A large answer is gzipped for who takes it; its tag then ends in -gz and still names the same version."""
    made = await create(api, content="x" * 4000)
    plain = await api.get(f"{PATH}/{made['id']}", headers={"Accept-Encoding": "identity"})
    packed = await api.get(f"{PATH}/{made['id']}", headers={"Accept-Encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["etag"] == f'"{made["id"]}-1-gz"'
    assert plain.headers["etag"] == f'"{made["id"]}-1"'
    assert packed.json()["resource"] == plain.json()["resource"]


async def test_list(api: Api) -> None:
    """Newest first, paged, without content, by type when asked."""
    answer = await api.get(PATH, params={"page": 2, "limit": 30})
    body = answer.json()
    assert [r["id"] for r in body["resources"]] == [str(n) for n in range(70, 40, -1)]
    assert body["pagination"] == {"page": 2, "limit": 30, "total": 100, "totalPages": 4, "hasMore": True}
    assert "content" not in body["resources"][0]
    images = (await api.get(PATH, params={"type": "image", "limit": 100})).json()
    assert {r["type"] for r in images["resources"]} == {"image"}
    assert images["pagination"]["total"] == len(images["resources"]) == 33
    past = (await api.get(PATH, params={"page": 100, "limit": 100})).json()
    assert (past["resources"], past["pagination"]["hasMore"]) == ([], False)


@pytest.mark.parametrize(
    "query",
    [
        "page=0",
        "page=-1",
        "page=1.5",
        "page=abc",
        "page=%D9%A3",
        "page=",
        "page=1&page=2",
        "page=10001",
        "page=101&limit=100",
        "limit=101",
        "limit=1_0",
        "limit=%201",
        "type=Image",
        "type=",
        "color=red",
    ],
)
async def test_bad_queries(api: Api, query: str) -> None:
    """Q1: anything but whole numbers within bounds, once, under a known name, is a 400 that names the parameter."""
    answer = await api.get(f"{PATH}?{query}")
    assert answer.status_code == 400
    assert answer.json()["code"] == "VALIDATION_FAILED"
    assert answer.json()["details"][0]["pointer"].startswith("?")


@pytest.mark.parametrize(
    "text", ["0", "01", "-1", "1.0", "abc", "9223372036854775808", "1" * 30, "%D9%A3", "1%20", "' OR 1=1--"]
)
async def test_ids_out_of_form(api: Api, text: str) -> None:
    """Q3: an id that is no decimal number names nothing: 404, and the database is not asked."""
    answer = await api.get(f"{PATH}/{text}")
    assert answer.status_code == 404
    assert answer.json()["error"] == "Resource not found"
    assert {key for key, _ in api.service.services.metrics.db_seconds.items()} <= {("db.probe",)}


async def test_change(api: Api) -> None:
    """PUT takes the full body, raises the version, and the next read sees it; members left out fall back to their
    defaults.
    """
    made = await create(api)
    path = f"{PATH}/{made['id']}"
    await api.get(path)
    answer = await api.send("PUT", path, USER_SESSION, json={"name": "Other", "type": "video"})
    assert answer.status_code == 200
    assert answer.headers["etag"] == f'"{made["id"]}-2"'
    read = await api.get(path)
    assert read.json()["resource"] == answer.json()["resource"]
    assert (read.json()["resource"]["content"], read.json()["resource"]["metadata"]) == ("", {})
    assert read.json()["cached"] is False


async def test_conditional_writes(api: Api) -> None:
    """Q5: If-Match with what was read goes through once; the second of two at once gets 412 with the tag that holds
    now.
    """
    made = await create(api)
    path, etag = f"{PATH}/{made['id']}", f'"{made["id"]}-1"'
    body = {"name": "n", "type": "document"}
    answers = await asyncio.gather(
        *(api.send("PUT", path, USER_SESSION, json=body, headers={"If-Match": etag}) for _ in range(2)),
    )
    assert sorted(a.status_code for a in answers) == [200, 412]
    refused = next(a for a in answers if a.status_code == 412)
    assert refused.json()["currentETag"] == refused.headers["etag"] == f'"{made["id"]}-2"'
    assert (await api.delete(path, USER_SESSION, headers={"If-Match": etag})).status_code == 412
    assert (await api.delete(path, USER_SESSION, headers={"If-Match": f'"{made["id"]}-2-gz"'})).status_code == 204


async def test_delete(api: Api) -> None:
    """204 without a body; then it is gone for readers at once, and a repeat is 404."""
    made = await create(api)
    path = f"{PATH}/{made['id']}"
    assert (await api.get(path)).status_code == 200
    answer = await api.delete(path, USER_SESSION)
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await api.get(path)).status_code == 404
    assert (await api.delete(path, USER_SESSION)).status_code == 404


async def test_only_the_author_or_an_admin_changes(api: Api) -> None:
    """Another's resource: 403 for a user, fine for an admin; reading needs nobody; writing needs the scope."""
    mine = await create(api)
    body = {"name": "n", "type": "document"}
    assert (await api.send("PUT", f"{PATH}/1", USER_SESSION, json=body)).status_code == 403
    assert (await api.delete(f"{PATH}/1", USER_SESSION)).status_code == 403
    changed = await api.send("PUT", f"{PATH}/{mine['id']}", ADMIN_SESSION, json=body)
    assert (changed.status_code, changed.json()["resource"]["updatedBy"]) == (200, ADMIN)
    assert changed.json()["resource"]["createdBy"] == USER
    reader = identity(USER, "user", key="0123456789", scopes=("read",))
    refused = await api.post(PATH, reader, json=body)
    assert (refused.status_code, refused.json()["requiredScope"]) == (403, "write")
    assert (await api.post(PATH, json=body)).status_code == 401


async def test_lists_follow_writes(api: Api) -> None:
    """A list that was cached shows what was created, changed and deleted since."""
    await api.get(PATH)
    made = await create(api)
    first = (await api.get(PATH)).json()
    assert (first["resources"][0]["id"], first["pagination"]["total"]) == (made["id"], 101)
    await api.delete(f"{PATH}/{made['id']}", USER_SESSION)
    assert (await api.get(PATH)).json()["pagination"]["total"] == 100


async def test_old_fault_8f(api: Api) -> None:
    """A missing thing is cached as missing for 5 s and found at once after it is created; `cached` tells misses from
    hits.
    """
    number = (await api.sql("SELECT last_value + 1 AS next FROM resources_id_seq"))[0]["next"]
    path = f"{PATH}/{number}"
    first, second = await api.get(path), await api.get(path)
    assert [(r.status_code, r.headers["x-cache"]) for r in (first, second)] == [(404, "MISS"), (404, "HIT")]
    ttl = int(second.headers["cache-status"].rpartition("ttl=")[2])
    assert 3 <= ttl <= 5
    made = await create(api)
    assert made["id"] == str(number)
    found = await api.get(path)
    assert (found.status_code, found.json()["cached"]) == (200, False)
    assert (await api.get(path)).json()["cached"] is True


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"name": "", "type": "document"}, "/name"),
        ({"name": "n" * 256, "type": "document"}, "/name"),
        ({"name": "a\nb", "type": "document"}, "/name"),
        ({"name": 5, "type": "document"}, "/name"),
        ({"name": "n", "type": "Document"}, "/type"),
        ({"name": "n", "type": "d" * 51}, "/type"),
        ({"name": "n", "type": "document", "content": "é" * 131_073}, "/content"),
        ({"name": "n", "type": "document", "metadata": {"a": "x" * 16_384}}, "/metadata"),
        ({"name": "n", "type": "document", "metadata": []}, "/metadata"),
        ({"name": "n", "type": "document", "createdBy": ADMIN}, "/createdBy"),
        ({"name": "n", "type": "document", "id": "7"}, "/id"),
    ],
)
async def test_bad_bodies(api: Api, body: dict[str, Any], pointer: str) -> None:
    """B1, B3: a member missing, mistyped, out of bounds or not the caller's to give is a 400 that points at it;
    nothing is stored.
    """
    answer = await api.post(PATH, USER_SESSION, json=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["details"][0]["pointer"] == pointer
    assert (await api.sql("SELECT count(*) FROM resources"))[0]["count"] == 100


async def test_old_sentence(api: Api) -> None:
    """Name or type missing: the old system's sentence."""
    for body in ({}, {"name": "n"}, {"type": "document"}, {"name": "", "type": "document"}):
        answer = await api.post(PATH, USER_SESSION, json=body)
        assert (answer.status_code, answer.json()["error"]) == (400, "Name and type are required")


async def test_stored_as_sent(api: Api) -> None:
    """B5: markup, templates and right-to-left marks come back as they were sent."""
    odd = "<script>alert(1)</script> {{7*7}} ${x} \u202e\u0661 \U0001f600"
    made = await create(api, name=odd, content=odd + "\n\t", metadata={odd: odd})
    read = (await api.get(f"{PATH}/{made['id']}")).json()["resource"]
    assert (read["name"], read["content"], read["metadata"]) == (odd, odd + "\n\t", {odd: odd})


async def test_literal_filters(api: Api) -> None:
    """Q2: what looks like SQL or a wildcard in a filter is text, and text that is no type is a 400."""
    for text in ("' OR 1=1--", '"; DROP TABLE resources', "%", "_", "\\"):
        assert (await api.get(PATH, params={"type": text})).status_code == 400
    assert (await api.get(PATH, params={"type": "documen"})).json()["pagination"]["total"] == 0


async def test_idempotent_create(api: Api) -> None:
    """The same key twice: one row, the first answer again; another body under it: 422."""
    headers = {"Idempotency-Key": '"once"'}
    first = await api.post(PATH, USER_SESSION, json=BODY, headers=headers)
    again = await api.post(PATH, USER_SESSION, json=BODY, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["location"] == first.headers["location"]
    other = await api.post(PATH, USER_SESSION, json=BODY | {"name": "other"}, headers=headers)
    assert other.status_code == 422
    assert (await api.sql("SELECT count(*) FROM resources"))[0]["count"] == 101


async def test_demo_ids(database: Database, valkey: ValkeyServer) -> None:
    """In demo mode the ids `error` and `notfound` answer 500 and 404; elsewhere both are just no ids."""
    async with Api.open(database, valkey) as api:
        assert (await api.get(f"{PATH}/error")).status_code == 500
        assert (await api.get(f"{PATH}/notfound")).status_code == 404
    async with Api.open(database, valkey, demo_mode="false") as api:
        assert (await api.get(f"{PATH}/error")).status_code == 404


async def test_head(api: Api) -> None:
    """HEAD answers as GET would, without the body."""
    answer = await api.send("HEAD", f"{PATH}/1")
    assert (answer.status_code, answer.content) == (200, b"")
    assert int(answer.headers["content-length"]) > 100
    assert answer.headers["etag"] == '"1-1"'


async def test_methods(api: Api) -> None:
    """Another method: 405 with what is allowed."""
    answer = await api.send("PATCH", f"{PATH}/1", USER_SESSION, json={})
    assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE, GET, HEAD, PUT")
    assert json.loads(answer.content)["allow"] == ["DELETE", "GET", "HEAD", "PUT"]
