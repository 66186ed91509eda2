from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from services.gateway.access_log import PER_SECOND, PER_TICK, AccessLog
from tests.harness.wait import eventually
from tests.unit.gateway.doubles import exchange, identity, record


@pytest.fixture
def log():
    return AccessLog(slow_ms=1000)


def lines(log: AccessLog) -> list[dict[str, object]]:
    with capture_logs() as found:
        log.flush()
    return [dict(line) for line in found]


def test_quick_successes_are_not_logged(log):
    """Most requests leave no line."""
    log.note(exchange(), 200, 0.01)
    assert lines(log) == []


def test_failures_and_slow_ones_are(log):
    """5xx and slow requests: a warning with ids, route, times, who; never a path or a query."""
    x = exchange(path=b"/api/v1/resources/7")
    x.query, x.route, x.identity = b"?secret=1", record(path=b"/api/v1/resources/7"), identity()
    x.reason, x.tries = "upstream_reset", 2
    log.note(x, 502, 0.25)
    log.note(x, 200, 1.5)
    failed, slow = lines(log)
    assert failed["log_level"] == "warning"
    assert (failed["route"], failed["status"], failed["ms"]) == ("/api/v1/resources/{id}", 502, 250.0)
    assert (failed["reason"], failed["tries"], failed["identifier"]) == ("upstream_reset", 2, "key:0123456789")
    assert slow["slow"] is True
    assert "secret" not in repr((failed, slow))


def test_a_flood_of_refusals_is_a_few_lines(log):
    """4xx are logged at most so often a second."""
    for _ in range(1000):
        log.note(exchange(), 429, 0.001)
    assert len(lines(log)) == PER_SECOND


def test_a_tick_renders_a_few(log):
    """The loop is never held up by a full ring."""
    for _ in range(200):
        log.note(exchange(), 500, 0.001)
    assert len(lines(log)) == PER_TICK


async def test_it_runs_by_itself_and_writes_the_rest_at_the_end(log):
    """In the background while the process lives, to the last line when it stops."""
    with capture_logs() as found:
        log.start()
        log.note(exchange(), 500, 0.001)
        await eventually(lambda: len(found) == 1, 5, "the line is out")
        for _ in range(100):
            log.note(exchange(), 500, 0.001)
        await log.stop()
    assert len(found) == 101
