"""A manifest is told what is not acted on, in the condition that accepts it."""

from __future__ import annotations

from services.controller.notices import notices
from tests.unit.controller.scene import Stage, spec

WORKER = "component worker: this version runs no worker; nothing is started for it"


def test_what_is_acted_on_is_not_mentioned():
    """No sentence for a manifest that is carried out whole."""
    assert notices(spec()) == ()


async def test_a_worker_is_accepted_with_a_notice():
    """Valid, kept, and said: nothing is started for it."""
    stage = Stage()
    stage.change(spec=spec(components=[{"name": "gateway"}, {"name": "worker"}]))
    await stage.seconds(1)
    assert (stage.condition("Accepted").status, stage.condition("Accepted").message) == ("True", WORKER)
