from __future__ import annotations

import sys
import time

import pytest

from services.runtime.otlp import otlp_sender
from services.runtime.settings import BalancerSettings, SettingsError, load
from services.runtime.tracing import CLIENT, SERVER, Span
from tests.harness.collector import collector
from tests.load.bench.processes import free_ports

TRACE = "0af7651916cd43dd8448eb211c80319c"
SETTINGS = load(
    BalancerSettings,
    {"CONTROL_TOKEN": "control-token-of-32-characters--", "INSTANCE_ID": "b-1", "APP_VERSION": "1.2.3"},
)


def test_spans_arrive_as_they_were():
    """Ids, parents, kinds, times, failure and attributes; the process is the resource."""
    now = time.monotonic()
    root = Span("balancer", TRACE, "b7ad6b7169203331", "00f067aa0ba902b7", now - 2, now - 1, SERVER, failed=True)
    child = Span("attempt", TRACE, "53995c3f42cd8ad8", root.span_id, now - 1.75, now - 1.5, CLIENT, attributes={"n": 2})
    alone = Span("pick", "1" * 32, "2" * 16, "", now, now)
    with collector() as found:
        assert otlp_sender(found.url + "/", SETTINGS)([root, child, alone])
    assert [(one.name, one.trace_id, one.id, one.parent) for one in found.spans] == [
        (s.name, s.trace_id, s.span_id, s.parent_id) for s in (root, child, alone)
    ]
    first, second, third = found.spans
    assert {(one.service, one.instance) for one in found.spans} == {("balancer", "b-1")}
    assert [one.failed for one in found.spans] == [True, False, False]
    assert [one.span.kind for one in found.spans] == [2, 3, 1]  # the protocol's server, client, internal
    assert second.attributes == {"n": 2}
    assert first.span.end_time_unix_nano - first.span.start_time_unix_nano == pytest.approx(1e9, abs=1e6)
    assert third.span.start_time_unix_nano == pytest.approx(time.time_ns(), abs=60e9)


def test_a_second_batch_has_its_own_spans_only():
    """Nothing of the first is sent again."""
    with collector() as found:
        send = otlp_sender(found.url, SETTINGS)
        for number in (1, 2):
            assert send([Span(f"s{number}", TRACE, f"{number:016x}", "", 0, 1)])
    assert [one.name for one in found.spans] == ["s1", "s2"]


def test_nobody_there_is_told(monkeypatch):
    """False, after the standard's own timeout, and no exception."""
    (port,) = free_ports(1)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")
    send = otlp_sender(f"http://127.0.0.1:{port}", SETTINGS)
    assert not send([Span("x", TRACE, "1" * 16, "", 0, 1)])


def test_a_missing_package_is_named_with_its_remedy(monkeypatch):
    """A process that is to export and cannot does not start."""
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    monkeypatch.delitem(sys.modules, "services.runtime.otlp")
    with pytest.raises(SettingsError, match=r"pip install 'scalable-api\[tracing\]'"):
        __import__("services.runtime.otlp")
