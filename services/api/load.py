"""How busy this process is, 0…100, for the balancer's choice (`X-Api-Load`) and for `/health`.

The higher of two shares: requests in flight of what one event loop handles well, and CPU of one core over the last
second (data-path.md 7).
"""

from __future__ import annotations

from typing import Final

from services.runtime.vitals import Cpu

FULL_IN_FLIGHT: Final = 64  # more at once only wait for each other: the pool has ten connections, the loop one core


class LoadMeter:
    """edge.py raises and lowers `in_flight`."""

    def __init__(self, cpu: Cpu) -> None:
        self._cpu = cpu
        self.in_flight = 0

    @property
    def percent(self) -> int:
        return min(100, round(max(100 * self.in_flight / FULL_IN_FLIGHT, self._cpu.percent)))
