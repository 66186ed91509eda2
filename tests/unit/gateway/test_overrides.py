from __future__ import annotations

import pytest

from services.gateway import overrides
from services.gateway.overrides import OverrideFeed
from services.runtime.gateway_store import OverrideRow
from tests.harness.wait import eventually
from tests.unit.gateway.doubles import Store

ROW = OverrideRow("key:a", 10, None, "enforce", 100.0)


class Bench:
    def __init__(self) -> None:
        self.now = 0.0
        self.store = Store()
        self.used: list[list[OverrideRow]] = []
        self.feed = OverrideFeed(self.store, self.used.append, lambda: self.now)


@pytest.fixture
async def bench():
    return Bench()


async def test_only_a_different_set_is_handed_on(bench):
    """The same rows a minute later change nothing, though their seconds left do."""
    bench.store.rows = [ROW]
    assert await bench.feed.load()
    bench.now = 60.0
    bench.store.rows = [OverrideRow("key:a", 10, None, "enforce", 40.0)]
    await bench.feed.load()
    assert len(bench.used) == 1


@pytest.mark.parametrize(
    "row",
    [
        OverrideRow("key:a", 11, None, "enforce", 100.0),
        OverrideRow("key:a", 10, 5, "enforce", 100.0),
        OverrideRow("key:a", 10, None, "shadow", 100.0),
        OverrideRow("key:a", 10, None, "enforce", 200.0),
        OverrideRow("key:a", 10, None, "enforce", None),
        OverrideRow("key:b", 10, None, "enforce", 100.0),
    ],
)
async def test_every_difference_counts(bench, row):
    """Limits, mode, expiry, identifier."""
    bench.store.rows = [ROW]
    await bench.feed.load()
    bench.store.rows = [row]
    await bench.feed.load()
    assert len(bench.used) == 2


async def test_away_the_last_set_stays(bench):
    """Postgres away: nothing is handed on."""
    bench.store.away = True
    assert not await bench.feed.load()
    assert bench.used == []


async def test_a_message_reads_at_once(bench, monkeypatch):
    """Between polls a message is enough; several within a moment are one reading."""
    monkeypatch.setattr(overrides, "SETTLE_S", 0.01)
    bench.feed.start()
    await eventually(lambda: bench.store.calls == 1, 2, "the first reading")
    bench.store.rows = [ROW]
    bench.feed.reload()
    bench.feed.reload()
    await eventually(lambda: bench.used == [[ROW]], 2, "the change is in force")
    assert bench.store.calls == 2
    await bench.feed.stop()
