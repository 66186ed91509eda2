"""When a status is written (operator.md §7, §8): at once when something turned, else five seconds apart, at rest never.

Caller: controller.visit, at the end of a tick.
"""

from __future__ import annotations

from typing import Final

from services.controller import status
from services.controller.backend import Done, Unchanged
from services.controller.facts import Facts
from services.controller.mind import REST_MS, Mind
from services.controller.pods import Hands
from services.controller.status import Shown

FLAP_WRITES: Final = 10
"""More circuit-only writes than this in a minute: then one per `REST_MS`."""
MINUTE_MS: Final = 60_000


async def publish(facts: Facts, mind: Mind, hands: Hands) -> None:
    """Build the status, and write it if it is its turn."""
    document = status.build(facts, mind.status, mind.history)
    found = status.shown(document)
    mind.latest = mind.status if found == mind.status else found  # at rest one is kept, not two
    if mind.latest is mind.status and not mind.rewrite:
        return
    turned = mind.rewrite or found.turned != mind.status.turned or _circuits_due(facts.now_ms, found, mind)
    if not turned and facts.now_ms - mind.written_ms < REST_MS:
        return
    outcome = await hands.backend.publish(facts.api, document, "")
    if isinstance(outcome, Done | Unchanged):
        if found.circuits != mind.status.circuits:
            recent = tuple(at for at in mind.circuit_writes if facts.now_ms - at < MINUTE_MS)
            mind.circuit_writes = (*recent, facts.now_ms)
        mind.status, mind.written_ms, mind.rewrite = found, facts.now_ms, False


def _circuits_due(now_ms: int, found: Shown, mind: Mind) -> bool:
    """A transition of a circuit is written at once, unless they come by the dozen."""
    recent = sum(now_ms - at < MINUTE_MS for at in mind.circuit_writes)
    return found.circuits != mind.status.circuits and recent < FLAP_WRITES
