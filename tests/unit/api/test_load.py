from __future__ import annotations

from services.api.load import LoadMeter
from services.runtime.vitals import Cpu


def test_the_higher_share_counts() -> None:
    """In flight or CPU, in percent, never above 100."""
    cpu = Cpu()
    load = LoadMeter(cpu)
    assert load.percent == 0
    load.in_flight = 16
    assert load.percent == 25
    cpu.percent = 80.4
    assert load.percent == 80
    load.in_flight = 1000
    assert load.percent == 100
