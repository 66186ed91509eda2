from __future__ import annotations

from services.gateway.overload import Overload
from services.gateway.stages.shed import Shed
from services.gateway.tier_book import TierBook
from services.runtime.vitals import Degraded, Events
from services.schema.snapshot import QueueState, ShedState
from services.schema.tiers import BUILT_IN
from tests.harness.wait import eventually
from tests.unit.gateway.doubles import exchange, record


class Bench:
    def __init__(self) -> None:
        self.lag_ms, self.in_flight = 0.0, 0
        self.events = Events()
        self.degraded = Degraded(self.events)
        book = TierBook()
        book.use(BUILT_IN)
        shed = Shed(lambda _x: None, book)
        self.overload = Overload(shed, self.degraded, lambda: self.lag_ms, lambda: self.in_flight)


async def test_it_feels_by_itself():
    """Ten times a second, until stopped; pressure reaches the stage, the process is degraded, the snapshot tells."""
    bench = Bench()
    bench.overload.start()
    bench.in_flight = 2000
    await eventually(lambda: bench.overload.shed.level == 3, 5, "the pressure is felt")
    await bench.overload.stop()
    assert bench.degraded.active() == ("overload",)
    x = exchange()
    x.route = record()
    for _ in range(4):
        assert bench.overload.shed(x) is not None
    bench.overload.throttle.refused = 6
    bench.overload.roll(2.0)
    assert bench.overload.shed_state() == ShedState(3, 2.0)
    assert bench.overload.queue_state() == QueueState(0, 0.0, 3.0)
    bench.overload.roll(1.0)
    assert (bench.overload.shed_state().rps, bench.overload.queue_state().refused_rps) == (0.0, 0.0)


async def test_memory_is_read_once_a_second_and_counts():
    """A process near its limit sheds."""
    bench = Bench()
    bench.overload._memory_limit = 1
    bench.overload.tick(10.0)
    assert bench.overload.shed.level == 3
    bench.overload._memory_limit = 1 << 60
    bench.overload.tick(10.5)
    assert bench.overload.shed.level == 3
    bench.overload.tick(60.0)
    assert bench.overload.shed.level == 0


async def test_the_throttle_hears_of_each_tick():
    """What `forward` counted becomes a share."""
    bench = Bench()
    bench.overload.next_hop.ended = bench.overload.next_hop.turned_away = 100
    bench.overload.tick(1.0)
    assert bench.overload.next_hop.p == 0.8
