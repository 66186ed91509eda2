from __future__ import annotations

import json

import pytest

from services.core.credentials import make_session, session_id
from services.gateway.identity import Identity
from services.gateway.lookups import AWAY, Found
from services.gateway.sessions import INVALID, Sessions, session_identity
from services.runtime.redis_batch import LOST
from tests.unit.gateway.doubles import Batch

TOKEN = make_session(bytes(32)).encode()
USER = "00000000-0000-0000-0000-000000000001"
VALUE = json.dumps(
    {"sid": session_id(TOKEN), "user": USER, "email": "a@b", "role": "admin", "tier": "enterprise", "ip": "1.2.3.4"}
).encode()


class Bench:
    def __init__(self) -> None:
        self.now = 1000.0
        self.batch = Batch()
        self.sessions = Sessions(self.batch, lambda: self.now)
        self.heard: list[Found] = []

    def ask(self, via: str = "bearer") -> bool:
        return self.sessions.ask(TOKEN, via, self.heard.append)

    def get(self, via: str = "bearer") -> Found | None:
        return self.sessions.get(TOKEN, via, self.now)


@pytest.fixture
def bench():
    bench = Bench()
    assert bench.get() is None
    assert bench.ask()
    bench.batch.answer(VALUE)
    return bench


def test_a_session_is_one_get_kept_for_five_seconds(bench):
    """The token's hash is asked for, never the token; the identity is the user's with all the role's scopes."""
    found = bench.heard[0]
    assert isinstance(found, Identity)
    assert found.claims is not None
    assert (found.identifier, found.tier, found.claims.sid) == (f"user:{USER}", "enterprise", session_id(TOKEN))
    assert found.views
    assert bench.get() is found
    bench.now += 5
    assert bench.get() is None
    bench.ask()
    data = bench.batch.sent[0][0]
    assert session_id(TOKEN).encode() in data
    assert TOKEN not in data


def test_cookie_and_bearer_are_told_apart(bench):
    """The api checks CSRF by `via`: the same session by cookie is another identity."""
    assert bench.get("cookie") is None


def test_a_token_redis_does_not_have_is_invalid(bench):
    """Nil denies; a wrong shape is denied without asking."""
    bench.now += 5
    bench.ask()
    bench.batch.answer(None)
    assert bench.heard[-1] is INVALID
    assert bench.get() is INVALID
    assert bench.sessions.get(b"ses_short", "bearer", bench.now) is INVALID


@pytest.mark.parametrize("reply", [b"", b"[]", b'{"user":"x"}', VALUE.replace(USER.encode(), b"x"), 7])
def test_rubbish_is_no_session(reply):
    """Anything of another shape is denied, not an error."""
    assert session_identity(reply, "sid", "bearer") is INVALID


def test_redis_away_cached_sessions_live_for_a_minute(bench):
    """No reply: the session as it was, within 60 s; then and for others 503, never 401."""
    first = bench.heard[0]
    bench.now += 59
    bench.ask()
    bench.batch.answer(LOST)
    assert bench.heard[-1] is first
    bench.batch.open = True
    assert not bench.ask()
    assert bench.sessions.last_good(TOKEN, "bearer", bench.now) is first
    bench.now += 1
    assert bench.sessions.last_good(TOKEN, "bearer", bench.now) is AWAY
    other = make_session(bytes([1] * 32)).encode()
    assert bench.sessions.last_good(other, "bearer", bench.now) is AWAY


def test_messages_end_sessions(bench):
    """`sess:` and `user:` drop the entry; another session's does not."""
    bench.sessions.forget("other")
    bench.sessions.forget_user("other")
    assert bench.get() is not None
    bench.sessions.forget(session_id(TOKEN))
    assert bench.get() is None
    bench.ask()
    bench.batch.answer(VALUE)
    bench.sessions.forget_user(USER)
    assert bench.get() is None


def test_a_gap_and_a_message_in_flight(bench):
    """After a lost subscription nothing cached is used; an answer older than a message is not kept."""
    bench.sessions.distrust()
    assert bench.get() is None
    bench.ask()
    bench.ask()
    bench.sessions.forget(session_id(TOKEN))
    bench.batch.answer(VALUE)
    assert isinstance(bench.heard[-1], Identity)
    assert bench.get() is None
    assert bench.batch.sent == []
