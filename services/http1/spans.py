"""Spans of a sampled exchange, for gateway and balancer: stages note when they were entered, the finish makes spans of it.

Only a process that exports spans wires these in: `Marked` around the stages worth a span, `Spans.on_finish` last among
the finish hooks. A mark lasts until the next one, or until the exchange has ended: a stage that parks is measured with
its wait, a try with its answer. All are children of the exchange's own span, whose id the next hop has as its parent.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any

from services.core.verdicts import Outcome
from services.http1.exchange import Exchange
from services.runtime.ids import draw_ids
from services.runtime.tracing import CLIENT, INTERNAL, SERVER, Span, Tracing

if TYPE_CHECKING:
    from services.http1.runner import Stage

Mark = tuple[str, float, Any]
"""A stage's name, when it was entered, and the endpoint that the exchange had when it left."""


class Marked:
    """A stage that notes when a sampled exchange came to it."""

    __slots__ = ("_name", "_stage")

    def __init__(self, name: str, stage: Stage) -> None:
        self._name, self._stage = name, stage

    def __call__(self, x: Exchange) -> Outcome:
        if not x.sampled:
            return self._stage(x)
        entered = monotonic()
        out = self._stage(x)
        x.marks = (*marks_of(x), (self._name, entered, x.endpoint))
        return out


class Spans:
    """Hands the spans of what has ended to the exporter. `route` names an exchange's route for its span."""

    def __init__(self, tracing: Tracing, name: str, route: Callable[[Exchange], str] = lambda _x: "") -> None:
        self._tracing, self._name, self._route = tracing, name, route

    def on_finish(self, x: Exchange) -> None:
        if x.sampled and x.started:
            for span in spans_of(x, self._name, self._route(x), monotonic()):
                self._tracing.add(span)


def marks_of(x: Exchange) -> tuple[Mark, ...]:
    return getattr(x, "marks", ())


def spans_of(x: Exchange, name: str, route: str, ended_s: float) -> list[Span]:
    """The exchange's own span, then one for each mark."""
    trace_id, own = x.trace_id.decode(), x.span_id.decode()
    about: dict[str, str | int] = {"http.request.method": x.method.decode("latin-1")}
    about |= {"http.response.status_code": x.status} if x.status else {}
    about |= {"http.route": route} if route else {}
    about |= {"scalableapi.reason": x.reason} if x.reason else {}
    failed = x.status >= 500 or not x.status
    spans = [Span(name, trace_id, own, parent_of(x), x.started, ended_s, SERVER, failed, about)]
    marks = marks_of(x)
    ends = [*(entered for _, entered, _ in marks), ended_s][1:]
    for (stage, entered, endpoint), end in zip(marks, ends, strict=True):
        where = {"scalableapi.endpoint": endpoint.id} if endpoint is not None else {}
        ids = (trace_id, draw_ids()[1].decode(), own)
        spans.append(Span(stage, *ids, entered, end, CLIENT if where else INTERNAL, attributes=where))
    return spans


def parent_of(x: Exchange) -> str:
    """The caller's span, if x continues its trace."""
    parent = x.special.get(b"traceparent", b"")
    return parent[36:52].decode() if parent[3:35] == x.trace_id else ""
