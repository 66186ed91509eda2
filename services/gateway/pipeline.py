"""THE path of a request through the gateway: one tuple, in order. Odd places say why they are where they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from services.gateway.answers import AnswerHead
from services.gateway.stages.authenticate import Authenticate
from services.gateway.stages.bound import bound
from services.gateway.stages.forward import Forward
from services.gateway.stages.limit import LimitStage
from services.gateway.stages.measure import Measure
from services.gateway.stages.own import Own
from services.gateway.stages.route import Route
from services.gateway.stages.trace import Trace
from services.http1.exchange import Exchange
from services.http1.runner import Pipeline
from services.http1.spans import Marked, Spans

NAMES: Final = ("trace", "measure", "route", "bound", "authenticate", "own", "limit", "forward")


@dataclass(frozen=True, slots=True)
class Stages:
    trace: Trace
    route: Route
    measure: Measure
    authenticate: Authenticate
    own: Own
    limit: LimitStage
    forward: Forward
    answer: AnswerHead


def build(s: Stages, spans: Spans | None = None) -> Pipeline:
    s.forward.at = NAMES.index("forward")  # a replay comes back here
    limit, forward = (Marked("limit", s.limit), Marked("forward", s.forward)) if spans else (s.limit, s.forward)
    return Pipeline(
        stages=(
            s.trace,  # every refusal below has an id and an address
            s.measure,  # before all that refuses or answers, `route` too: what came in goes out of the count again
            s.route,  # label, class, size for the rest; answers OPTIONS and health, which must not depend on any store
            bound,  # needs the head alone: the cheapest refusal
            s.authenticate,  # limiter's key and tier; a miss parks on a single-flight look-up
            s.own,  # /metrics and /lb/status want an identity and are exempt from limits: between the two
            limit,  # after identity; before the body is read or a connection taken; parks for Redis' reply
            forward,  # always parks; its failure hook may send the exchange back to it, once
        ),
        on_head=(s.limit.on_head, s.answer),
        on_finish=(s.forward.on_finish, s.limit.on_finish, s.measure.on_finish, *((spans.on_finish,) if spans else ())),
        on_answer=s.forward.on_answer,
        on_failure=s.forward.on_failure,
        always=(s.trace, s.measure),  # a malformed request gets an id and is counted, nothing more
    )


def stage_of(x: Exchange) -> str:
    """The stage that has just decided; `http` for what the engine refused before any of them."""
    return NAMES[x.at - 1] if 0 < x.at <= len(NAMES) else "http"
