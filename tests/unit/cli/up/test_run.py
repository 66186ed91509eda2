"""The course of `up`, with stand-ins for stores and processes. The real thing: tests/integration/test_up.py."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from services.cli import instance as instances
from services.cli.errors import DONE, INTERRUPTED, CliError
from services.cli.output import Format
from services.cli.up import preflight, run, stores
from services.cli.up.options import Options
from services.cli.up.stores import Stores


class FakeProcesses:
    """Tells the order of what is asked of it."""

    def __init__(self, order: list[str], problem: CliError | None = None, failure: Exception | None = None) -> None:
        self.order, self.problem, self._failure = order, problem, failure

    async def start(self, within_s: float) -> None:
        self.order.append(f"processes within {within_s:.0f} s")
        if self.problem is not None:
            raise self.problem

    def pids(self) -> list[int]:
        return []

    def counts(self) -> dict[str, int]:
        return {"api": 2}

    def failure(self) -> Exception | None:
        return self._failure

    async def stop(self) -> None:
        self.order.append("processes end")


class FakeStores(Stores):
    def stop(self) -> None:
        ORDER.append("stores end")


ORDER: list[str] = []
Live = Callable[..., Any]


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Live:
    """Runs `up` with stand-ins; a signal comes once it is announced."""
    ORDER.clear()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))

    async def start(*_: Any) -> Stores:
        ORDER.append("stores")
        return FakeStores("o", "a", "g", "r", (), "postgres 18")

    async def prepare(*_: Any) -> str:
        ORDER.append("schema")
        return "schema 9 migrations"

    monkeypatch.setattr(stores, "start", start)
    monkeypatch.setattr(stores, "prepare", prepare)

    def go(processes: FakeProcesses, form: Format = Format.table, *, interrupt: bool = True) -> int:
        monkeypatch.setattr(run, "Processes", lambda *_: processes)
        options = Options(data_dir=tmp_path / "d", port=0, demo=False, form=form, database_url="x", redis_url="y")
        ready = preflight.check(options)
        up = run.Up(options, ready, time.monotonic())

        async def course() -> int:
            if interrupt:
                asyncio.get_running_loop().call_later(0.2, os.kill, os.getpid(), signal.SIGTERM)
            return await up.live()

        try:
            return asyncio.run(course())
        finally:
            ready.port.release()
            ready.folder.release()

    return go


def test_start_and_end_in_order(live: Live, capsys: pytest.CaptureFixture[str]) -> None:
    """Stores, schema, processes, banner; at the end processes, then stores; the announcement is withdrawn; exit 0."""
    assert live(FakeProcesses(ORDER)) == DONE
    assert ORDER == ["stores", "schema", "processes within 20 s", "processes end", "stores end"]
    assert "Ctrl-C stops everything." in capsys.readouterr().out
    assert not instances.current_file().exists()


def test_json_is_one_line(live: Live, capsys: pytest.CaptureFixture[str]) -> None:
    """-o json: the report alone on stdout."""
    live(FakeProcesses(ORDER), Format.json)
    found = json.loads(capsys.readouterr().out)
    assert (found["kind"], found["data"]["processes"], found["data"]["pid"]) == ("UpReport", {"api": 2}, os.getpid())


def test_e107_ends_what_was_started(live: Live) -> None:
    """A process that does not get ready: the error goes up after everything that ran has ended."""
    with pytest.raises(CliError, match="not ready"):
        live(FakeProcesses(ORDER, CliError("E107", "api-1 is not ready")), interrupt=False)
    assert ORDER[-2:] == ["processes end", "stores end"]


def test_a_failed_controller_ends_all(live: Live) -> None:
    """Without its controller nothing would be replaced or scaled: `up` ends with the reason."""
    with pytest.raises(CliError, match="controller failed"):
        live(FakeProcesses(ORDER, failure=RuntimeError("boom")), interrupt=False)
    assert ORDER[-1] == "stores end"


async def test_a_signal_during_the_start_cancels_it() -> None:
    """Ctrl-C before the banner: what is being started is cancelled."""
    stop, cancelled = asyncio.Event(), False

    async def work() -> None:
        nonlocal cancelled
        stop.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled = True
            raise

    assert not await run.Up._unless(stop, work())
    assert cancelled
    assert INTERRUPTED == 130
