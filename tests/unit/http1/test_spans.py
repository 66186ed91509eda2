from __future__ import annotations

from collections.abc import Sequence

from services.core.verdicts import PARKED, Outcome
from services.http1.exchange import Exchange
from services.http1.spans import Marked, Spans, marks_of, parent_of, spans_of
from services.runtime.metrics import Metrics
from services.runtime.tracing import CLIENT, INTERNAL, SERVER, Span, Tracing
from tests.unit.gateway.doubles import exchange

TRACE, OWN, ABOVE = b"0af7651916cd43dd8448eb211c80319c", b"53995c3f42cd8ad8", b"b7ad6b7169203331"
PARENT = b"00-" + TRACE + b"-" + ABOVE + b"-01"


class Somewhere:
    id = "api-1"


def sampled(traceparent: bytes = b"") -> Exchange:
    x = exchange(traceparent=traceparent)
    x.sampled, x.trace_id, x.span_id = True, TRACE, OWN
    x.started, x.status, x.method = 100.0, 200, b"GET"
    return x


def stage(x: Exchange) -> Outcome:
    x.endpoint = Somewhere()
    return PARKED


def test_a_mark_is_made_of_sampled_exchanges_alone():
    """The stage's outcome goes through; the endpoint is the one it left."""
    x, other = sampled(), exchange()
    assert Marked("attempt", stage)(x) is PARKED
    assert Marked("attempt", stage)(other) is PARKED
    assert [(name, endpoint.id) for name, _, endpoint in marks_of(x)] == [("attempt", "api-1")]
    assert marks_of(other) == ()
    assert not hasattr(other, "marks")


def test_each_mark_lasts_until_the_next():
    """The exchange's own span is the parent of all; the last mark ends with it."""
    x = sampled(traceparent=PARENT)
    x.marks = (("pick", 101.0, None), ("attempt", 102.0, Somewhere()))
    root, pick, attempt = spans_of(x, "balancer", "", 105.0)
    assert (root.name, root.parent_id, root.start_s, root.end_s, root.kind) == (
        "balancer",
        ABOVE.decode(),
        100.0,
        105.0,
        SERVER,
    )
    assert (pick.start_s, pick.end_s, pick.kind, pick.attributes) == (101.0, 102.0, INTERNAL, {})
    assert (attempt.start_s, attempt.end_s, attempt.kind) == (102.0, 105.0, CLIENT)
    assert attempt.attributes == {"scalableapi.endpoint": "api-1"}
    assert {pick.parent_id, attempt.parent_id} == {root.span_id} == {OWN.decode()}
    assert len({root.span_id, pick.span_id, attempt.span_id}) == 3


def test_what_a_span_says():
    """Method, route, status, reason; failed by 5xx, or when nobody was there to be answered."""
    x = sampled()
    x.status, x.reason = 503, "no-balancer"
    (root,) = spans_of(x, "gateway", "/api/v1/status", 101.0)
    assert root.failed
    assert root.attributes == {
        "http.request.method": "GET",
        "http.response.status_code": 503,
        "http.route": "/api/v1/status",
        "scalableapi.reason": "no-balancer",
    }
    x.status = 404
    assert not spans_of(x, "gateway", "", 101.0)[0].failed
    x.status = 0
    assert spans_of(x, "gateway", "", 101.0)[0].failed


def test_a_new_trace_has_no_parent():
    """None was sent, or it was not taken over."""
    assert parent_of(sampled(traceparent=PARENT)) == ABOVE.decode()
    assert parent_of(sampled()) == ""
    restarted = sampled(traceparent=PARENT)
    restarted.trace_id = b"1" * 32
    assert parent_of(restarted) == ""


def test_the_finish_hands_over_what_is_sampled():
    """Nothing of an exchange that is not, or that never had a head."""
    sent: list[Span] = []

    def take(spans: Sequence[Span]) -> bool:
        sent.extend(spans)
        return True

    tracing = Tracing(take, Metrics("gateway", "1"), every_s=60)
    spans = Spans(tracing, "gateway", lambda x: "/api/v1/status")
    headless, other = sampled(), exchange()
    headless.started = 0.0
    for x in (sampled(), headless, other):
        spans.on_finish(x)
    tracing.close(5.0)
    assert [(span.name, span.attributes["http.route"]) for span in sent] == [("gateway", "/api/v1/status")]
