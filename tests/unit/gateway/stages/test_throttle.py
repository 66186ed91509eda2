from __future__ import annotations

from services.core.criticality import CRITICAL_PLUS
from services.core.throttle import Throttle
from services.core.verdicts import Refusal
from services.gateway.stages.throttle import ThrottleStage
from tests.unit.gateway.doubles import exchange


def test_a_share_is_dropped():
    """About p of the requests, none of critical-plus, none at p = 0."""
    throttle = Throttle()
    stage = ThrottleStage(throttle)
    assert [stage(exchange()) for _ in range(50)] == [None] * 50
    throttle.p = 0.5
    dropped = sum(isinstance(stage(exchange()), Refusal) for _ in range(1000))
    assert 400 < dropped < 600
    assert stage.refused == dropped
    important = exchange()
    important.criticality = CRITICAL_PLUS
    assert [stage(important) for _ in range(50)] == [None] * 50
