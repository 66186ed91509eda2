from __future__ import annotations

import pytest

from tests.load.bench.measure import Round, quietest, to_round
from tests.load.bench.proc import Cpu
from tests.load.bench.wrk import Said

SAID = Said(requests=100_000, rps=25_000.0, p50_us=900.0, p99_us=2000.0)


def test_costs_are_per_request() -> None:
    """CPU over wrk's count; utilisation and foreign load over wrk's time."""
    found = to_round(SAID, Cpu(1.0, 2.8), Cpu(0.5, 0.3), busy_s=4.0, rss_kib=7)
    assert (found.user_us, found.sys_us, found.cpu_us) == pytest.approx((10.0, 28.0, 38.0))
    assert (found.util, found.foreign, found.store_us) == pytest.approx((0.95, 0.05, 8.0))
    assert (found.rps, found.p50_us, found.p99_us, found.rss_kib) == (25_000.0, 900.0, 2000.0, 7)


def test_foreign_load_is_never_negative() -> None:
    """The two clocks tick apart; less than nothing is nothing."""
    assert to_round(SAID, Cpu(4.0, 0.1), Cpu(), busy_s=4.0, rss_kib=1).foreign == 0.0


def a_round(foreign: float, cpu_us: float) -> Round:
    return Round(1.0, 1.0, 1.0, cpu_us, 1.0, 1.0, 1.0, 1, 0.0, foreign)


@pytest.mark.parametrize(
    ("rounds", "taken", "tries"),
    [
        ([a_round(0.12, 50.0), a_round(0.0, 1.0)], 50.0, 1),  # quiet enough at once, although slower
        ([a_round(0.5, 1.0), a_round(0.1, 60.0), a_round(0.0, 2.0)], 60.0, 2),
        ([a_round(0.5, 1.0), a_round(0.4, 70.0), a_round(0.6, 2.0), a_round(0.0, 3.0)], 70.0, 3),  # never quiet
    ],
)
async def test_a_disturbed_round_is_repeated_twice_at_most(rounds: list[Round], taken: float, tries: int) -> None:
    """What is kept is chosen by foreign load, never by its result."""
    left = list(rounds)

    async def once() -> Round:
        return left.pop(0)

    assert (await quietest(once)).cpu_us == taken
    assert len(rounds) - len(left) == tries
