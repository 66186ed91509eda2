"""Writes are asked of the lease, counted, and a missing right is shown until it is there."""

from __future__ import annotations

from services.controller.backend import Denied, RetryAfter
from services.controller.writes import Writer
from tests.unit.controller.scene import Stage


async def test_a_missing_right_is_named_until_the_write_succeeds():
    """Accepted=False/Denied, Stalled, Event WriteDenied once; all gone when the right is given."""
    stage = Stage()
    whole = stage.backend.scale

    async def denied(*_args):
        return Denied("patch deployments/scale")

    stage.backend.scale = denied  # type: ignore[method-assign]
    stage.ports.says["api"] = {"rps": 240.0}
    await stage.seconds(5)
    assert (stage.condition("Accepted").reason, stage.condition("Accepted").message) == (
        "Denied",
        "patch deployments/scale",
    )
    assert (stage.condition("Stalled").reason, stage.reasons().count("WriteDenied")) == ("Denied", 1)
    stage.backend.scale = whole  # type: ignore[method-assign]
    await stage.seconds(2)
    assert (stage.condition("Accepted").reason, stage.condition("Stalled").status) == ("Accepted", "False")


async def test_without_the_lease_nothing_is_written():
    """Asked right before each write: what a tick began as leader, it does not end as another."""
    stage = Stage()
    stage.backend.may_write = lambda: False  # type: ignore[method-assign]
    counted: list[str] = []
    writer = Writer(stage.backend, {}, counted.append)
    assert await writer.scale(stage.api, "api", 9, "1") == RetryAfter(1.0)
    await stage.controller.tick()
    assert (stage.backend.writes, stage.backend.published, counted) == ([], [], [])


async def test_writes_are_counted_by_kind():
    """Only those that changed something."""
    stage = Stage()
    counted: list[str] = []
    writer = Writer(stage.backend, {}, counted.append)
    await writer.scale(stage.api, "api", 3, "1")
    await writer.scale(stage.api, "api", 3, "2")
    await writer.mark_victims(stage.api, "api", frozenset({"api-1"}))
    assert counted == ["scale", "marks"]
