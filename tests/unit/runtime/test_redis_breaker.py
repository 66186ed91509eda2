from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.runtime.redis_breaker import RedisBreaker, probe_after_s


def closed(at: float = 0.0) -> RedisBreaker:
    breaker = RedisBreaker()
    assert not breaker.probed(at)
    assert breaker.probed(at + 0.25)
    return breaker


def test_opens_after_three_failures_within_a_second() -> None:
    """Two do not, nor do three spread wider."""
    breaker = closed()
    assert not breaker.failed(10.0)
    assert not breaker.failed(10.9)
    assert not breaker.failed(11.1)
    assert breaker.failed(11.2)
    assert breaker.open
    assert not breaker.failed(11.3)


def test_a_lost_connection_opens_at_once() -> None:
    """Nobody waits for a store that hung up; a second loss is no news."""
    breaker = closed()
    assert breaker.lost()
    assert not breaker.lost()


def test_closes_after_two_good_probes() -> None:
    """A failure in between starts the count anew; probes while closed change nothing."""
    breaker = closed(-100.0)
    breaker.lost()
    assert not breaker.probed(1.0)
    breaker.failed(1.1)
    assert not breaker.probed(1.25)
    assert breaker.probed(1.5)
    assert not breaker.open
    assert not breaker.probed(1.75)


def test_a_flapping_store_must_be_steady() -> None:
    """Back less than 30 s ago: five seconds of good probes are wanted. To close at start is no such return."""
    breaker = closed(0.0)
    breaker.lost()
    assert not breaker.probed(0.3)
    assert breaker.probed(0.5)
    breaker.lost()
    assert not any(breaker.probed(1.0 + i * 0.25) for i in range(20))
    assert breaker.probed(6.0)


@given(st.floats(0, 1, exclude_max=True))
def test_probes_are_spread(draw: float) -> None:
    """250 ms ± 20 %."""
    assert 0.2 <= probe_after_s(draw) <= 0.3
