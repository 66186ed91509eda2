from __future__ import annotations

import asyncio

import pytest

from services.api.tracing import RequestSpans, called, timed
from services.runtime.metrics import Metrics
from services.runtime.tracing import Span, Tracing

TRACE, ABOVE = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{ABOVE}-01"


class Bench:
    def __init__(self) -> None:
        self.sent: list[Span] = []
        self._tracing = Tracing(self._take, Metrics("api", "1"), every_s=60)
        self.spans = RequestSpans(self._tracing)

    def _take(self, spans) -> bool:
        self.sent += spans
        return True

    def all(self) -> dict[str, Span]:
        self._tracing.close(5.0)
        return {span.name: span for span in self.sent}


@pytest.mark.parametrize("parent", ["", PARENT[:-2] + "00", "nonsense", PARENT.replace(ABOVE, "0" * 16), PARENT + "-x"])
def test_what_is_not_sampled_has_no_span(parent):
    """No flag, no valid context: nothing is begun."""
    assert Bench().spans.begin(parent) is None


async def test_calls_are_children_of_the_request_they_are_made_for():
    """In the tasks it starts too; the handler's parent is the caller's span."""
    bench = Bench()
    trace = bench.spans.begin(PARENT)
    assert trace is not None
    called("sql items.get", 0.25)

    async def later() -> None:
        with timed("redis GET"):
            await asyncio.sleep(0)

    await asyncio.gather(later())
    trace.end("GET", "/api/v1/resources", 200)
    spans = bench.all()
    handler = spans.pop("handler")
    assert (handler.trace_id, handler.parent_id, handler.failed) == (TRACE, ABOVE, False)
    assert handler.attributes == {
        "http.request.method": "GET",
        "http.route": "/api/v1/resources",
        "http.response.status_code": 200,
    }
    assert {name: (span.trace_id, span.parent_id) for name, span in spans.items()} == {
        "sql items.get": (TRACE, handler.span_id),
        "redis GET": (TRACE, handler.span_id),
    }
    assert spans["sql items.get"].end_s - spans["sql items.get"].start_s == pytest.approx(0.25)


async def test_a_call_that_raises_is_failed_and_raises():
    """So is a request that was answered with 5xx, or not at all."""
    bench = Bench()
    trace = bench.spans.begin(PARENT)
    assert trace is not None
    with pytest.raises(OSError, match="away"), timed("redis GET"):
        raise OSError("away")
    trace.end("GET", "other", 0)
    spans = bench.all()
    assert spans["redis GET"].failed
    assert spans["handler"].failed


async def test_calls_outside_a_sampled_request_leave_nothing():
    """Background work, and what comes after the request's end."""
    bench = Bench()
    trace = bench.spans.begin(PARENT)
    assert trace is not None
    trace.end("GET", "other", 404)
    called("sql db.probe", 0.1)
    with timed("redis PING"):
        pass
    spans = bench.all()
    assert list(spans) == ["handler"]
    assert not spans["handler"].failed
