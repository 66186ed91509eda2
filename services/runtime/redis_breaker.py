"""When the data path stops waiting for Redis, and when it trusts it again (data-path.md section 5, "Redis away").

Not `core/breaker.py`: no request may be the probe here, since a request that waits for a dead store is what this
prevents. Opens after three failures within a second or a lost connection; PINGs probe it. A store that flaps costs
two openings, not one each second: if it had closed less than 30 s ago, PINGs must be good for 5 s. Pure: `now` is any
monotonic clock. Called by `RedisBatch`.
"""

from __future__ import annotations

from collections import deque
from typing import Final

FAILURES: Final = 3
WITHIN_S: Final = 1.0
GOOD_PROBES: Final = 2
FLAPPING_S: Final = 30.0
STEADY_S: Final = 5.0
PROBE_S: Final = 0.25
PROBE_SPREAD: Final = 0.2  # ± 20 %: gateways do not probe in step


class RedisBreaker:
    """Open until the first good probes: nobody waits for a store that has never answered."""

    __slots__ = ("_closed_at", "_failures", "_fell", "_good", "_good_since", "open")

    def __init__(self) -> None:
        self.open = True
        self._failures: deque[float] = deque(maxlen=FAILURES)
        self._fell = False  # it has been closed before: to close at start is no sign of flapping
        self._good = 0
        self._good_since = 0.0
        self._closed_at = float("-inf")

    def failed(self, now: float) -> bool:
        """A timeout or an unusable reply; True if it opens the breaker now. While open it spoils the probes so far."""
        self._good = 0
        self._failures.append(now)
        if self.open or len(self._failures) < FAILURES or now - self._failures[0] > WITHIN_S:
            return False
        return self.lost()

    def lost(self) -> bool:
        """The connection is gone; True if it opens the breaker now."""
        self._good = 0
        opens = not self.open
        self.open = True
        self._fell = self._fell or opens
        self._failures.clear()
        return opens

    def probed(self, now: float) -> bool:
        """A good PING while open; True if it closes the breaker now."""
        if not self.open:
            return False
        if self._good == 0:
            self._good_since = now
        self._good += 1
        flapping = now - self._closed_at < FLAPPING_S
        if self._good < GOOD_PROBES or (flapping and now - self._good_since < STEADY_S):
            return False
        self.open = False
        if self._fell:
            self._closed_at = now
        self._failures.clear()
        return True


def probe_after_s(draw: float) -> float:
    """Seconds to the next probe; `draw` in [0, 1)."""
    return PROBE_S * (1 - PROBE_SPREAD + 2 * PROBE_SPREAD * draw)
