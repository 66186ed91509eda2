"""The deadline: the gateway's (`X-Request-Timeout-Ms`) may shorten ours; a request that has no time left must not cost
a try.
"""

from __future__ import annotations

from typing import Final

from services.core.verdicts import Outcome, Refusal
from services.http1.exchange import Exchange

LEFT_MIN_S: Final = 0.010  # less than a hop takes: 504 without a try
PER_HOP_MS: Final = 5
TIMEOUT_DIGITS_MAX: Final = 6
MALFORMED: Final = Refusal("bad-request", "timeout-malformed", "X-Request-Timeout-Ms must be 1…30000.", close=True)
EXPIRED: Final = Refusal("gateway-timeout", "deadline", "The deadline had passed before an upstream was asked.")


def expire(x: Exchange) -> Outcome:
    value = x.special.get(b"x-request-timeout-ms")
    if value is not None:
        if not value.isdigit() or len(value) > TIMEOUT_DIGITS_MAX or not (wanted := int(value)):
            return MALFORMED
        deadline = x.started + wanted / 1000
        if not x.deadline or deadline < x.deadline:
            x.deadline = deadline
    return EXPIRED if x.deadline and x.deadline - x.now <= LEFT_MIN_S else None
