"""The controller under `up`, with a backend that starts nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from services.cli.errors import UNREACHABLE, CliError
from services.cli.up import processes
from services.cli.up.environment import Plan, secrets_of
from services.cli.up.processes import Processes
from services.controller.backend import Event
from services.controller.backends.processes import NotReadyError, ProcessBackend
from services.controller.loop import Controller

MANIFEST = (
    "apiVersion: scalableapi.io/v1\nkind: ScalableApi\nmetadata: {name: shop}\nspec: {components: [{name: api}]}\n"
)


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Processes]:
    (tmp_path / "m.yaml").write_text(MANIFEST)

    def built(problem: Exception | None = None, happened: Callable[[str, str], None] = lambda *_: None) -> Processes:
        async def start_all(_self: ProcessBackend, _within_s: float) -> None:
            if problem is not None:
                raise problem

        monkeypatch.setattr(ProcessBackend, "start_all", start_all)
        made = secrets_of(tmp_path / "s.json")
        plan = Plan("127.0.0.1", 0, "a", "g", "r", tmp_path / "state", tmp_path / "t", made, demo=False)
        return Processes(plan, tmp_path / "m.yaml", tmp_path, happened)

    return built


async def test_e107_has_the_last_log_lines(make: Callable[..., Processes]) -> None:
    """A process that did not get ready is named, with its last lines and where the rest is."""
    one = make(NotReadyError("api-1", "ended with 1", "PORT=x: must be a number"))
    with pytest.raises(CliError, match="api-1 is not ready") as failed:
        await one.start(1.0)
    assert (failed.value.code, failed.value.exit_code) == ("E107", UNREACHABLE)
    assert failed.value.why == "PORT=x: must be a number"
    assert "api-1.log" in failed.value.next_step
    await one.stop()


async def test_a_controller_that_ends_is_noticed(
    make: Callable[..., Processes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it runs there is no failure; what ended it is one."""
    running = asyncio.Event()

    async def run(_self: Controller) -> None:
        await running.wait()
        raise RuntimeError("boom")

    monkeypatch.setattr(Controller, "run", run)
    one = make()
    await one.start(1.0)
    assert (one.failure(), one.counts(), one.pids()) == (None, {}, [])
    running.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert isinstance(one.failure(), RuntimeError)
    await one.stop()


async def test_events_are_passed_on(make: Callable[..., Processes]) -> None:
    """Each event of the controller reaches the terminal by reason and message."""
    told: list[tuple[str, str]] = []
    one = make(None, lambda reason, message: told.append((reason, message)))
    one._told(Event("Normal", "ScaledUp", "api 2→3"))
    assert told == [("ScaledUp", "api 2→3")]
    await one.stop()
    assert processes.STOP_S > 10
