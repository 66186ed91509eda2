"""The live table."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.cli.commands import top
from services.cli.errors import UNREACHABLE
from services.cli.fleet import Process
from services.cli.options import By
from services.cli.output import Format
from services.schema.snapshot import Latency, LimiterState, Snapshot
from tests.unit.cli.commands.test_status import running, stored


def snapshot(component: str, **over: object) -> Snapshot:
    base: dict[str, object] = {
        "component": component, "instance": f"{component}-1", "version": "1", "started_at": "", "at": "", "seq": 1,
        "ready": True,
        "draining": False, "in_flight": 3, "requests": 10, "rps": 20.0, "error_rate": 0.1, "latency": Latency(1, 2, 3),
        "loop_lag_ms": 0.5, "cpu": 12.0, "rss_bytes": 50 << 20, "tasks": 4,
    }  # fmt: skip
    return Snapshot(**(base | over))  # type: ignore[arg-type]


def test_a_row_a_process() -> None:
    """State, rates, quantiles, refusals and vitals of one process; a silent one keeps its row."""
    limiter = LimiterState("local", degraded=True, denied_rps=2.5)
    busy = Process("gateway", "gateway-1", "", snapshot("gateway", limiter=limiter, degraded=("redis",)))
    cells = [str(c) for c in top.row(busy)]
    assert cells[:8] == ["gateway-1", "ready (redis)", "20.0", "1.0", "2.0", "3.0", "3", "2.5"]
    assert cells[8:] == ["10.0", "0.5", "12", "50 MiB"]
    silent = top.row(Process("api", "api-1", "", None, "refused"))
    assert silent[:3] == ["api-1", "no answer", "-"]
    assert len(silent) == len(top.HEADS)


def test_by_component_sums_and_takes_the_worst() -> None:
    """Rates add up over processes; a quantile is the worst one's; errors weigh by load."""
    two = [
        Process("api", "api-1", "", snapshot("api", rps=30.0, error_rate=0.0)),
        Process("api", "api-2", "", snapshot("api", rps=10.0, error_rate=0.4, latency=Latency(5, 6, 7), ready=False)),
        Process("gateway", "gateway-1", "", None, "gone"),
    ]
    api, gateway = top.component_rows(two)
    assert [str(c) for c in api[:6]] == ["api", "1/2 ready", "40.0", "5.0", "6.0", "7.0"]
    assert api[8] == "10.0"
    assert gateway[1] == "no answer"


def test_json_has_seconds_and_bytes() -> None:
    """-o json: seconds and bytes, whatever the table shows."""
    found = top.member(Process("api", "api-1", "", snapshot("api", draining=True)))
    assert (found["p95Seconds"], found["rssBytes"], found["draining"]) == (0.002, 50 << 20, True)
    assert top.member(Process("api", "api-1", "", None, "why")) == {"id": "api-1", "component": "api", "error": "why"}


def test_nobody_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """--once with no process to read is exit 5, and the table's head is printed all the same."""
    made = running(tmp_path, stored(), monkeypatch)
    (Path(made.data) / "secrets.json").write_text('{"control_token": "t"}')
    assert top.run(Format.table, by=By.process, once=True) == UNREACHABLE
    assert capsys.readouterr().out.startswith("PROCESS")
