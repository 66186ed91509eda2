from __future__ import annotations

from pathlib import Path

import pytest

from services.runtime.vitals import Cpu, Degraded, Events, Traffic, cpu_limit, memory_limit, rfc3339, rss_bytes


def test_a_second_of_traffic():
    """Rates and quantiles are those of what came since the last roll."""
    traffic = Traffic()
    for _ in range(90):
        traffic.requests += 1
        traffic.durations.observe(0.004)
    traffic.requests += 10
    traffic.errors += 10
    traffic.roll(2.0)
    assert traffic.rps == 50
    assert traffic.error_rate == pytest.approx(0.1)
    assert 2.5 <= traffic.latency.p50 <= 5
    traffic.roll(1.0)
    assert (traffic.rps, traffic.error_rate, traffic.latency.p99) == (0, 0, 0)


def test_events_keep_the_latest():
    """The snapshot shows the last fifty."""
    events = Events()
    for number in range(60):
        events.add("kind", str(number), "message")
    assert len(events.latest) == 50
    assert events.latest[-1].subject == "59"


def test_degraded_is_entered_at_once_and_left_when_clean(monkeypatch):
    """Each change is one event; a short recovery does not count as one."""
    now = [0.0]
    monkeypatch.setattr("services.runtime.vitals.time.monotonic", lambda: now[0])
    events = Events()
    degraded = Degraded(events)
    degraded.note("redis", bad=True)
    degraded.note("redis", bad=True)
    assert degraded.active() == ("redis",)
    degraded.note("redis", bad=False)
    now[0] = 5.0
    assert degraded.active() == ("redis",)
    degraded.note("redis", bad=True)
    degraded.note("redis", bad=False)
    now[0] = 15.1
    assert degraded.active() == ()
    assert [event.kind for event in events.latest] == ["degraded.entered", "degraded.left"]


def test_cpu_limit(tmp_path: Path):
    """The control group's quota in cores; none, `max` and rubbish mean no limit."""
    file = tmp_path / "cpu.max"
    file.write_text("50000 100000\n")
    assert cpu_limit(str(file)) == 0.5
    file.write_text("max 100000\n")
    assert cpu_limit(str(file)) == float("inf")
    assert cpu_limit(str(tmp_path / "none")) == float("inf")


def test_memory_limit(tmp_path: Path):
    """The control group's, in bytes; without one a process should stay below 512 MiB."""
    file = tmp_path / "memory.max"
    file.write_text("268435456\n")
    assert memory_limit(str(file)) == 256 << 20
    file.write_text("max\n")
    assert memory_limit(str(file)) == 512 << 20
    assert memory_limit(str(tmp_path / "none")) == 512 << 20


def test_memory_and_cpu_are_numbers():
    """This process has memory and used CPU."""
    cpu = Cpu()
    cpu.roll(1.0)
    assert cpu.percent >= 0
    assert rss_bytes() > 1 << 20


def test_times_have_milliseconds():
    """RFC 3339 in UTC."""
    assert rfc3339(0.1234) == "1970-01-01T00:00:00.123Z"
