"""What the head alone can settle: a declared body over the route's limit (413), the client's own deadline.

Cheapest of all refusals, so it stands before everything that asks a store. `Expect` (417) and malformed framing are
the engine's.
"""

from __future__ import annotations

from typing import Final

from services.core.verdicts import Outcome, Refusal
from services.http1.exchange import Exchange

CLIENT_TIMEOUT_MAX_MS: Final = 30_000
MALFORMED: Final = Refusal(
    "bad-request", "timeout-field", f"X-Request-Timeout-Ms is a whole number, 1 to {CLIENT_TIMEOUT_MAX_MS}."
)


def bound(x: Exchange) -> Outcome:
    if x.length > x.body_max:
        return too_large(x.body_max)
    wanted = x.special.get(b"x-request-timeout-ms")
    if wanted is None:
        return None
    ms = client_timeout_ms(wanted)
    if ms is None:
        return MALFORMED
    mine = x.started + ms / 1000
    if not x.deadline or mine < x.deadline:  # it may only shorten
        x.deadline = mine
    return None


def client_timeout_ms(value: bytes) -> int | None:
    """The field's value, None if it is not one."""
    ms = int(value) if value.isdigit() and len(value) <= 5 else 0
    return ms if 1 <= ms <= CLIENT_TIMEOUT_MAX_MS else None


def too_large(limit: int) -> Refusal:
    return Refusal(
        "content-too-large", "body", f"At most {limit} bytes are taken here.", facts={"limit": limit}, close=True
    )
