"""The head that goes on."""

from __future__ import annotations

from time import monotonic

from services.balancer.stages.expire import EXPIRED
from services.balancer.stages.forward import Forward
from tests.unit.balancer.fakes import Bench, said, way


def sent_head(bench: Bench) -> list[str]:
    ((_, head),) = [one for endpoint in bench.all for one in way(endpoint).started]
    return head.decode().split("\r\n")


async def test_head() -> None:
    """Ids, the remaining time less a hop's, Via appended; all else untouched, in order."""
    bench = Bench(1)
    x = bench.exchange(
        b"PUT",
        b"/a%20b",
        x_request_id=b"r-1",
        traceparent=b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        tracestate=b"a=1,b=2",
        via=b"1.1 gateway-gw-1",
        x_request_timeout_ms=b"2000",
    )
    x.query, x.fields, x.deadline = b"?q=1", [b"A: 1\r\n", b"a: 2\r\n"], x.started + 30
    bench.pipeline.stages[0](x)
    for stage in bench.pipeline.stages[2:]:
        stage(x)
    lines = sent_head(bench)
    assert lines[:4] == ["PUT /a%20b?q=1 HTTP/1.1", "Host: test", "A: 1", "a: 2"]
    fields = dict(line.split(": ", 1) for line in lines[4:] if line)
    assert fields["X-Request-ID"] == "r-1"
    assert fields["traceparent"] == f"00-4bf92f3577b34da6a3ce929d0e0e4736-{x.span_id.decode()}-01"
    assert fields["tracestate"] == "a=1,b=2"
    assert fields["Via"] == "1.1 gateway-gw-1, 1.1 balancer-lb-1"
    assert 1900 < int(fields["X-Request-Timeout-Ms"]) <= 1995


async def test_head_without_context() -> None:
    """New ids, our Via alone, and no deadline when there is none."""
    bench = Bench(1)
    bench.send()
    names = [line.partition(":")[0] for line in sent_head(bench)[1:] if line]
    assert names == ["Host", "X-Request-ID", "traceparent", "Via"]
    assert "Via: 1.1 balancer-lb-1" in sent_head(bench)


async def test_no_time_left() -> None:
    """The deadline passed on the way: 504, nothing is written."""
    bench = Bench(1)
    x = bench.exchange()
    x.endpoint, x.deadline = bench.all[0], monotonic() + 0.004
    assert Forward(b"lb-1").forward(x) is EXPIRED
    assert way(bench.all[0]).started == []
    assert said(x) is None
