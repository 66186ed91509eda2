from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.core.credentials import make_session
from services.core.identity import verify
from services.core.verdicts import PARKED
from services.gateway.identity import HEADER
from services.gateway.sessions import Sessions
from services.gateway.stages.authenticate import Authenticate, credential_of, session_cookie
from services.gateway.tier_book import TierBook
from services.http1.exchange import Exchange
from services.runtime.redis_batch import LOST
from services.schema.tiers import BUILT_IN
from tests.harness.wait import eventually
from tests.unit.gateway.doubles import CLIENTS, Batch, Guard, exchange, metrics, park, record, replies, slug
from tests.unit.gateway.test_keys import ID, KEY
from tests.unit.gateway.test_keys import Bench as KeyBench
from tests.unit.gateway.test_sessions import TOKEN, USER, VALUE

SECRET = bytes(range(1, 33))


class Bench:
    def __init__(self) -> None:
        self.keys = KeyBench()
        self.keys.now = 0.0
        self.batch, self.guard, self.book = Batch(), Guard(), TierBook()
        self.book.use(BUILT_IN)
        self.results = metrics().counter("auth_total", "A", ("via", "result"))
        sessions = Sessions(self.batch, lambda: asyncio.get_running_loop().time())
        self.stage = Authenticate((self.keys.keys, sessions), self.guard, self.book, self.results, SECRET)

    def result(self, via: str, result: str) -> float:
        return dict(self.results.items())[via, result]


@pytest.fixture
async def bench(monkeypatch):
    made = Bench()
    monkeypatch.setattr(made.keys.keys, "_clock", asyncio.get_running_loop().time)
    return made


def asks(path: bytes = b"/api/v1/status", method: bytes = b"GET", **special: Any) -> Exchange:
    x = exchange(method, path, **special)
    x.route = record(method, path)
    return x


async def settled(x: Exchange) -> Any:
    park(x)
    await eventually(lambda: x.state != 2 or replies(x) or x.at or x.identity is not None, 2, "the look-up is back")
    return replies(x)[-1] if replies(x) else None


async def test_nobody_is_anonymous(bench):
    """No credential: the address' identity with the anonymous tier and its criticality, shared by its requests."""
    one, two = asks(), asks()
    assert bench.stage(one) is None
    bench.stage(two)
    assert one.identity is two.identity
    assert (one.identity.identifier, one.identity.tier, one.criticality) == ("ip:192.0.2.7", "anonymous", 0)
    assert one.identity.header == b""


async def test_peeking_asks_nobody(bench):
    """For `shed`: anonymous is known at once, a credential only if it was seen before; nothing is counted."""
    nobody = asks()
    assert bench.stage.peek(nobody).identifier == "ip:192.0.2.7"
    key, session = asks(x_api_key=KEY), asks(authorization=b"Bearer " + TOKEN)
    assert bench.stage.peek(asks(authorization=b"Basic x")) is None
    assert bench.stage.peek(key) is None
    assert bench.stage.peek(session) is None
    assert bench.stage(key) is PARKED
    await settled(key)
    assert bench.stage.peek(asks(x_api_key=KEY)) is key.identity
    assert bench.stage(session) is PARKED
    bench.batch.answer(VALUE)
    assert bench.stage.peek(asks(authorization=b"Bearer " + TOKEN)) is not None


async def test_old_fault_5b_two_addresses_of_one_ipv6_64_share(bench):
    """They are limited as one."""
    identifiers = []
    for peer in ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"):
        x = asks()
        x.client = CLIENTS.named(peer, {})
        bench.stage(x)
        identifiers.append(x.identity.identifier)
    assert identifiers[0] == identifiers[1] != identifiers[2]


async def test_a_key_parks_once_and_then_hits(bench):
    """The first request waits for Postgres, the second does not; the signed header is the key's."""
    x = asks(x_api_key=KEY)
    assert bench.stage(x) is PARKED
    assert await settled(x) is None or True
    assert x.identity.identifier == "key:" + ID
    claims = verify(x.identity.header.removeprefix(HEADER).rstrip(), (SECRET,), 0)
    assert claims is not None
    assert claims.via == "key"
    again = asks(authorization=b"Bearer " + KEY)
    assert bench.stage(again) is None
    assert again.identity is x.identity
    assert again.criticality == 2
    assert bench.keys.store.calls == 1


async def test_a_routes_own_criticality_wins(bench):
    """Over the tier's."""
    x = asks(b"/api/v1/admin/metrics")
    bench.stage(x)
    assert x.criticality == 3


@pytest.mark.parametrize(
    ("special", "expected"),
    [
        ({"x_api_key": b"sk_live_bad"}, "invalid-api-key"),
        ({"authorization": b"Bearer sk_live_bad"}, "invalid-api-key"),
        ({"authorization": b"Bearer ses_bad"}, "invalid-token"),
        ({"authorization": b"Bearer admin-token-dev"}, "invalid-token"),
        ({"authorization": b"Basic YTpi"}, "invalid-token"),
        ({"authorization": b""}, "invalid-token"),
        ({"cookie": b"scalable_session=bad"}, "invalid-token"),
    ],
)
async def test_a_bad_credential_is_401_and_counted(bench, special, expected):
    """Never anonymous; one failure for its network; no store is asked for a wrong shape."""
    x = asks(b"/api/v1/me", **special)
    assert slug(bench.stage(x)) == expected
    assert bench.guard.failures == ["ip:192.0.2.7"]
    assert bench.keys.store.calls == 0
    assert bench.batch.sent == []


async def test_a_network_with_too_many_failures_is_refused(bench):
    """Its good credentials too; requests without one pass."""
    bench.guard.refused.add("ip:192.0.2.7")
    assert slug(bench.stage(asks(x_api_key=KEY))) == "abnormal-usage-detected"
    assert bench.stage(asks()) is None
    assert bench.result("key", "blocked") == 1


async def test_sessions_by_bearer_and_cookie(bench):
    """The token is asked of Redis; the identity tells how it came."""
    for via, special in [
        ("bearer", {"authorization": b"bearer " + TOKEN}),
        ("cookie", {"cookie": b"a=b; scalable_session=" + TOKEN}),
    ]:
        x = asks(**special)
        assert bench.stage(x) is PARKED
        park(x)
        bench.batch.answer(VALUE)
        assert x.identity.claims.via == via
        assert x.identity.identifier == f"user:{USER}"


async def test_a_denied_session_is_401(bench):
    """Nil from Redis."""
    x = asks(authorization=b"Bearer " + TOKEN)
    bench.stage(x)
    park(x)
    bench.batch.answer(None)
    assert slug(replies(x)[-1]) == "invalid-token"
    assert bench.guard.failures == ["ip:192.0.2.7"]


async def test_a_stale_cookie_does_not_lock_the_log_in(bench):
    """On log-in routes and the dashboard's pages it counts as none; elsewhere it is 401."""
    bad = {"cookie": b"scalable_session=ses_gone"}
    for method, path in [(b"POST", b"/api/v1/auth/login"), (b"POST", b"/api/v1/auth/link"), (b"GET", b"/")]:
        x = asks(path, method, **bad)
        assert bench.stage(x) is None, path
        assert x.identity.anonymous
    assert slug(bench.stage(asks(b"/api/v1/me", **bad))) == "invalid-token"


async def test_redis_away_is_503_for_unknown_sessions(bench):
    """An outage logs nobody out: 503 with the dependency, not 401, and no failure counted."""
    x = asks(authorization=b"Bearer " + TOKEN)
    bench.stage(x)
    park(x)
    bench.batch.answer(LOST)
    out = replies(x)[-1]
    assert slug(out) == "dependency-unavailable"
    assert out.facts == {"dependency": "redis"}
    bench.batch.open = True
    assert slug(bench.stage(asks(authorization=b"Bearer " + TOKEN))) == "dependency-unavailable"
    assert bench.guard.failures == []


async def test_postgres_away_is_503_for_unknown_keys(bench):
    """Known keys pass on (test_keys.py); others get 503."""
    bench.keys.store.away = True
    x = asks(x_api_key=KEY)
    bench.stage(x)
    out = await settled(x)
    assert slug(out) == "dependency-unavailable"
    assert out.facts == {"dependency": "postgres"}
    assert bench.guard.failures == []


async def test_too_many_look_ups_are_503(bench, monkeypatch):
    """Past 64 at once."""
    monkeypatch.setattr(bench.keys.keys, "ask", lambda *_: False)
    assert slug(bench.stage(asks(x_api_key=KEY))) == "dependency-unavailable"


async def test_an_exchange_that_was_answered_meanwhile_is_left_alone(bench):
    """A stale ticket changes nothing."""
    x = asks(authorization=b"Bearer " + TOKEN)
    bench.stage(x)
    park(x)
    x.ticket += 1
    bench.batch.answer(VALUE)
    assert x.identity is None
    assert replies(x) == []


def test_precedence():
    """X-API-Key, then Bearer, then the cookie; the __Host- cookie before the plain one."""
    everything = exchange(x_api_key=b"k", authorization=b"Bearer ses_t", cookie=b"scalable_session=c")
    assert credential_of(everything) == ("key", "key", b"k")
    del everything.special[b"x-api-key"]
    assert credential_of(everything) == ("bearer", "session", b"ses_t")
    del everything.special[b"authorization"]
    assert credential_of(everything) == ("cookie", "session", b"c")
    assert credential_of(exchange(cookie=b"theme=dark")) is None
    assert credential_of(exchange(cookie=b"x_scalable_session=1")) is None
    token = make_session(bytes(32)).encode()
    assert session_cookie(b'scalable_session=b; __Host-scalable_session="' + token + b'"') == token
