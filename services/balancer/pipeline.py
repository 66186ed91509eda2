"""THE path of a request through the balancer: one tuple, in order."""

from __future__ import annotations

from typing import Final

from services.balancer.fleet import Fleet
from services.balancer.placing import Placing
from services.balancer.stages.break_circuit import BreakCircuit
from services.balancer.stages.expire import expire
from services.balancer.stages.forward import Forward
from services.balancer.stages.measure import Measure
from services.balancer.stages.pick import Pick
from services.balancer.stages.queue import Admission
from services.balancer.stages.retry import Retry
from services.balancer.stages.route import Route
from services.balancer.stages.trace import NameAnswers, trace
from services.http1.runner import Pipeline, Stage
from services.http1.spans import Marked, Spans

PICK_AT: Final = 5  # where another try begins


def build(
    fleet: Fleet,
    measure: Measure,
    route: Route,
    admission: Admission,
    instance: bytes,
    *,
    placing: Placing | None = None,
    spans: Spans | None = None,
) -> tuple[Pipeline, Retry]:
    breakers = BreakCircuit(fleet, PICK_AT)
    retry = Retry(fleet, breakers, admission, PICK_AT)
    queue: Stage = admission.enter
    pick: Stage = Pick(fleet, placing).pick
    forward: Stage = Forward(instance).forward
    if spans:
        queue, pick, forward = Marked("queue", queue), Marked("pick", pick), Marked("attempt", forward)
    stages = (
        trace,  # first: every refusal below has an id
        route.route,  # health and metrics are answered here; the rest gets its latency class
        measure.enter,  # counts what is refused below as well
        expire,  # before anything is taken: a dead request must not cost a place
        queue,  # may park; before `pick`, which then sees the loads of the moment a request leaves the queue
        pick,  # asks breakers, changes none
        breakers.enter,  # only the picked one's breaker changes state; lost its slot: back to pick
        retry.arm,  # knows endpoint and body; its hooks send x back to pick
        forward,  # last; always parks
    )
    pipeline = Pipeline(
        stages,
        on_head=(NameAnswers(instance).head,),
        on_finish=(breakers.leave, admission.leave, measure.leave, *((spans.on_finish,) if spans else ())),
        on_answer=retry.answered,
        on_failure=retry.failed,
        always=(trace, measure.enter),
    )
    return pipeline, retry
