"""The controller under `up`, with a backend that starts nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from services.cli.errors import UNREACHABLE, CliError
from services.cli.instance import CONTROLLER_FILE
from services.cli.up import processes
from services.cli.up.environment import Plan, secrets_of
from services.cli.up.processes import Processes
from services.controller.backend import Event
from services.controller.backends.processes import NotReadyError, ProcessBackend
from services.controller.loop import Controller
from services.runtime.http_client import ControlClient

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


async def test_the_controllers_own_port_answers_while_it_runs(make: Callable[..., Processes], tmp_path: Path) -> None:
    """Its address is in the state folder; probes answer, and explain with the control token."""
    one = make()
    await one.start(1.0)
    url = json.loads((tmp_path / "state" / CONTROLLER_FILE).read_text())["controlUrl"]
    async with ControlClient(url, secrets_of(tmp_path / "s.json").control_token) as control:
        assert "operator_objects" in await control.metrics()
        assert set(await control.explain({"name": "shop"})) == {"components"}
    await one.stop()


def test_a_wrong_setting_of_the_controller_is_named(
    make: Callable[..., Processes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """PROMETHEUS_SERVERS without a name: one line, before anything starts."""
    monkeypatch.setenv("PROMETHEUS_SERVERS", "http://prometheus:9090")
    with pytest.raises(CliError, match="PROMETHEUS_SERVERS"):
        make()
