from __future__ import annotations

import asyncio

import pytest

from services.core.credentials import key_hash, make_key
from services.gateway.identity import Denied, Identity
from services.gateway.keys import INVALID, Keys
from services.gateway.lookups import AWAY, FLIGHTS, Found
from services.runtime.metrics import Counter
from tests.harness.wait import eventually
from tests.unit.gateway.doubles import PEPPER, Store, key_row, metrics

OLD = bytes(range(32, 64))


def key(number: int = 0, env: str = "live") -> bytes:
    return make_key(env, bytes([number % 32] * 10), bytes([number % 256] * 32)).encode()


KEY = key()
ID = "0" * 10


class Bench:
    """Keys over a fake store and a clock that the test moves."""

    def __init__(self, *, test_keys: bool = False) -> None:
        self.now = 1000.0
        self.store = Store()
        self.store.keys[ID] = key_row(ID, key_hash(PEPPER, KEY))
        self.cache: Counter = metrics().counter("key_cache_total", "C", ("result",))
        self.keys = Keys(
            self.store,
            ((1, PEPPER), (7, OLD)),
            ttl_s=60,
            stale_s=900,
            test_keys=test_keys,
            clock=lambda: self.now,
            cache=self.cache,
        )

    async def ask(self, credential: bytes = KEY) -> Found:
        found = self.keys.get(credential, self.now)
        if found is not None:
            return found
        answer: asyncio.Future[Found] = asyncio.get_running_loop().create_future()
        assert self.keys.ask(credential, answer.set_result)
        return await answer

    def results(self) -> dict[str, float]:
        return {name: count for (name,), count in self.cache.items()}


@pytest.fixture
async def bench():
    return Bench()


async def test_a_good_key_is_looked_up_once(bench):
    """The first use asks Postgres, the next ones do not; the identity is the key's."""
    found = await bench.ask()
    assert isinstance(found, Identity)
    assert (found.identifier, found.tier, found.owner) == (
        "key:" + ID,
        "pro",
        "user:00000000-0000-0000-0000-000000000001",
    )
    assert await bench.ask() is found
    assert bench.store.calls == 1
    assert bench.results() == {"hit": 1, "miss": 1, "stale": 0, "negative": 0}


@pytest.mark.parametrize("text", [b"", b"sk_live_x", KEY[:-1], KEY[:-1] + b"!", b"sk_live_" + b"0" * 61])
async def test_a_wrong_shape_costs_no_look_up(bench, text):
    """Shape and check digits first."""
    assert bench.keys.get(text, bench.now) is INVALID
    assert bench.store.calls == 0


async def test_test_keys_are_for_demo_mode():
    """sk_test_ is refused elsewhere without a look-up."""
    test = key(3, "test")
    assert Bench().keys.get(test, 0) is INVALID
    demo = Bench(test_keys=True)
    demo.store.keys["3" * 10] = key_row("3" * 10, key_hash(PEPPER, test))
    assert isinstance(await demo.ask(test), Identity)


@pytest.mark.parametrize(
    "wrong",
    [
        {"revoked": True},
        {"disabled": True},
        {"seconds_left": 0.0},
        {"seconds_left": -5.0},
        {"key_hash": bytes(32)},
        {"pepper_id": 99},
    ],
)
async def test_one_answer_for_every_bad_key(bench, wrong):
    """Unknown, wrong, revoked, expired, of a disabled owner: the same refusal, kept for five seconds."""
    row = {"key_hash": key_hash(PEPPER, KEY)} | wrong
    bench.store.keys[ID] = key_row(ID, **row)
    assert await bench.ask() is INVALID
    assert await bench.ask() is INVALID
    assert bench.store.calls == 1
    assert bench.results()["negative"] == 1
    bench.now += 5
    await bench.ask()
    assert bench.store.calls == 2


async def test_an_unknown_id_is_invalid(bench):
    """No such key: the same answer."""
    assert await bench.ask(key(9)) is INVALID


async def test_older_peppers_still_verify(bench):
    """A key hashed with an older pepper is good."""
    bench.store.keys[ID] = key_row(ID, key_hash(OLD, KEY), pepper_id=7)
    assert isinstance(await bench.ask(), Identity)


async def test_expiry_needs_no_message(bench):
    """A key that ends while it is cached is refused from that moment on."""
    bench.store.keys[ID] = key_row(ID, key_hash(PEPPER, KEY), seconds_left=10.0)
    assert isinstance(await bench.ask(), Identity)
    bench.now += 10
    assert await bench.ask() is INVALID


async def test_it_is_refreshed_in_the_background(bench):
    """Before 57 s of 60 a use starts one look-up and is answered at once; its result counts from then on."""
    first = await bench.ask()
    bench.now += 44.9
    assert bench.keys.get(KEY, bench.now) is first
    assert bench.store.calls == 1
    bench.now += 12.1
    assert bench.keys.get(KEY, bench.now) is first
    assert bench.keys.get(KEY, bench.now) is first
    await eventually(lambda: bench.store.calls == 2, 2, "it is read again")
    await asyncio.sleep(0)
    bench.now += 44
    second = bench.keys.get(KEY, bench.now)
    assert isinstance(second, Identity)
    assert second is not first


async def test_postgres_away_the_last_good_answer_lives(bench):
    """15 minutes of the last good answer, then 503; a key never seen is 503 at once."""
    first = await bench.ask()
    bench.store.away = True
    bench.now += 60
    assert await bench.ask() is first
    assert bench.results()["stale"] == 1
    calls = bench.store.calls
    assert await bench.ask() is first
    assert bench.store.calls == calls
    bench.now += 840
    assert await bench.ask() is AWAY
    assert await bench.ask(key(5)) is AWAY
    bench.store.away = False
    assert isinstance(await bench.ask(), Identity)


async def test_stale_use_ends_with_the_key_itself(bench):
    """Expiry holds while Postgres is away too."""
    bench.store.keys[ID] = key_row(ID, key_hash(PEPPER, KEY), seconds_left=100.0)
    await bench.ask()
    bench.store.away = True
    bench.now += 100
    assert await bench.ask() is INVALID


async def test_a_message_drops_the_entry(bench):
    """After `key:<id>` or `user:<uuid>` the next use asks Postgres."""
    await bench.ask()
    bench.keys.forget("1" * 10)
    await bench.ask()
    assert bench.store.calls == 1
    bench.keys.forget(ID)
    await bench.ask()
    bench.keys.forget_user("00000000-0000-0000-0000-000000000001")
    await bench.ask()
    assert bench.store.calls == 3
    assert len(bench.keys) == 1


async def test_after_a_gap_everything_is_read_anew(bench):
    """A lost subscription: no entry is used before it was read again; away, the last good one still stands in."""
    first = await bench.ask()
    bench.keys.distrust()
    assert bench.keys.get(KEY, bench.now) is None
    bench.store.away = True
    assert await bench.ask() is first
    assert bench.store.calls == 2


async def test_a_message_during_a_look_up_is_not_lost(bench):
    """What was read before the change serves who waits and is not kept."""
    answer: asyncio.Future[Found] = asyncio.get_running_loop().create_future()
    bench.keys.ask(KEY, answer.set_result)
    bench.keys.forget(ID)
    assert isinstance(await answer, Identity)
    assert bench.keys.get(KEY, bench.now) is None


async def test_one_look_up_for_many_and_not_too_many(bench):
    """64 at once; askers of the same key share one; the 65th is turned away."""
    heard: list[Found] = []
    assert all(bench.keys.ask(KEY, heard.append) for _ in range(100))
    for number in range(1, FLIGHTS):
        assert bench.keys.ask(key(number), heard.append)
    assert not bench.keys.ask(key(200), heard.append)
    await eventually(lambda: len(heard) == 100 + FLIGHTS - 1, 2, "all are answered")
    assert bench.store.calls == FLIGHTS
    assert sum(isinstance(found, Denied) for found in heard) == FLIGHTS - 1


async def test_the_cache_holds_no_credential(bench):
    """Entries are keyed by an HMAC; the key's text is nowhere in them."""
    await bench.ask()
    assert all(KEY not in digest for digest, _ in bench.keys._entries.items())
    assert KEY.decode() not in repr(bench.keys._entries.items())
