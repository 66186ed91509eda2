from __future__ import annotations

import socket
import time
from typing import Any

import pytest

from services.runtime.gateway_store import KEYS_SQL, OVERRIDES_SQL, GatewayStore, StoreAwayError, _key


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_away_fails_fast_and_then_at_once():
    """While Postgres is away a look-up fails within its time, and those of the next second without asking again."""
    told: list[bool] = []
    store = GatewayStore(f"postgresql://x@127.0.0.1:{closed_port()}/x", lambda up, _seconds: told.append(up))
    with pytest.raises(StoreAwayError):
        await store.key("0123456789")
    started = time.monotonic()
    for _ in range(100):
        with pytest.raises(StoreAwayError):
            await store.overrides()
    assert time.monotonic() - started < 0.2
    assert told == [False]
    await store.close()


def test_a_row_becomes_a_value():
    """Arrays and byte strings of the driver become the record's own types."""
    row: Any = {"id": "k", "key_hash": bytearray(32), "pepper_id": 1, "user_id": "u", "tier": "pro", "scopes": ["read"]}
    row |= {"role": "user", "seconds_left": None, "revoked": False, "disabled": False}
    key = _key(row)
    assert (key.scopes, key.key_hash) == (("read",), bytes(32))


def test_only_the_two_views_are_read():
    """The gateway's role may select from these; the SQL names nothing else."""
    assert "FROM gateway_keys" in KEYS_SQL
    assert "FROM gateway_overrides" in OVERRIDES_SQL
