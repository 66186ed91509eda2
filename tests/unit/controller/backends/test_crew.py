"""The processes of one component: names, marks, replacement, readiness. Real children, that do very little."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from services.controller.backend import Conflict, Done, Event, Unchanged
from services.controller.backends.crew import Crew, Surroundings, ready_all
from services.controller.backends.launch import Launcher
from services.runtime.http_client import client
from tests.harness.wait import eventually
from tests.unit.controller.backends.test_launch import HELLO, MUTE
from tests.unit.controller.test_pods import SNAPSHOT

Maker = Callable[..., Crew]


class Port:
    """One control port for all of them; `says` changes what it answers, None = nothing."""

    says: dict[str, Any] | None = SNAPSHOT
    number = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if self.says is not None:
            data = json.dumps(self.says).encode()
            writer.write(b"HTTP/1.1 200 X\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(data), data))
            await writer.drain()
        writer.close()


@pytest.fixture
async def port() -> AsyncIterator[Port]:
    made = Port()
    listener = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.number = listener.sockets[0].getsockname()[1]
    yield made
    listener.close()


@pytest.fixture
async def crew_of(tmp_path: Path, port: Port) -> AsyncIterator[Maker]:
    """Makes a crew whose children run `code`; ends them all."""
    http, crews = client(timeout_s=1.0), []

    def make(code: str = HELLO, events: list[Event] | None = None) -> Crew:
        code = code.replace('"controlPort": 2', f'"controlPort": {port.number}')
        launcher = Launcher(tmp_path, lambda _: [sys.executable, "-c", code])
        tell = (events if events is not None else []).append
        around = Surroundings(launcher, lambda _: os.environ, lambda: "t", http, lambda _: None, tell)
        crews.append(Crew("api", around))
        return crews[-1]

    yield make
    children = [child for crew in crews for child in crew.stop()]
    assert all([await child.wait(10) is not None for child in children])
    await asyncio.gather(*(crew.probed() for crew in crews))
    await http.aclose()


async def test_names_readiness_endpoints(crew_of):
    """The lowest free numbers; ready when the control port says so; listed once they listen."""
    crew = crew_of()
    assert not ready_all([crew])
    assert crew.scale(2, "1", 1) == Done()
    await eventually(lambda: ready_all([crew]), 10, "ready")
    pods = crew.workload().pods
    assert [(pod.name, pod.phase, pod.ready, pod.starting) for pod in pods] == [
        ("api-1", "Running", True, False),
        ("api-2", "Running", True, False),
    ]
    assert [(e["id"], e["port"], e["version"], e["draining"]) for e in crew.endpoints()] == [
        ("api-1", 1, "x", False),
        ("api-2", 1, "x", False),
    ]


async def test_exactly_the_marked_ones_go(crew_of):
    """Fewer marks than needed: a conflict and nobody goes; the version guards; a name is used again."""
    crew = crew_of()
    crew.scale(3, "1", 1)
    await eventually(lambda: ready_all([crew]), 10, "ready")
    second = crew.workload().pods[1]
    assert crew.scale(2, "2", 1) == Conflict()
    assert (crew.mark(frozenset({second.uid})), crew.mark(frozenset({second.uid}))) == (Done(), Unchanged())
    assert crew.scale(2, "1", 1) == Conflict()
    assert crew.scale(3, "2", 1) == Unchanged()
    assert crew.scale(2, "2", 1) == Done()
    leaving = next(pod for pod in crew.workload().pods if pod.name == "api-2")
    assert (leaving.deleting, leaving.ready) == (True, False)
    await eventually(lambda: "api-2" not in crew.slots, 10, "it went")
    crew.scale(3, "3", 1)
    assert sorted(crew.slots) == ["api-1", "api-2", "api-3"]


async def test_a_deaf_one_is_killed_after_its_time(crew_of, monkeypatch):
    """drain.timeout and ten seconds more (here none): SIGKILL."""
    monkeypatch.setattr("services.controller.backends.crew.KILL_AFTER_S", 0.1)
    crew = crew_of(HELLO.replace("lambda *_: os._exit(0)", "signal.SIG_IGN"))
    crew.scale(1, "1", 1)
    await eventually(lambda: ready_all([crew]), 10, "ready")
    crew.mark(frozenset(pod.uid for pod in crew.workload().pods))
    crew.scale(0, "2", 0)
    await eventually(lambda: not crew.slots, 10, "killed")
    assert crew.workload().pods == ()


async def test_one_that_keeps_ending_waits_longer_and_longer(crew_of):
    """At once, then after 1 s: the pod and the events say why; a pending one can be let go."""
    events: list[Event] = []
    crew = crew_of(MUTE, events)
    crew.scale(1, "1", 1)
    await eventually(lambda: len(events) == 2, 10, "two ends")
    assert [event.message for event in events] == [
        "api-1 ended with exit code 4: no luck; started again",
        "api-1 ended with exit code 4: no luck; again in 1 s",
    ]
    pod = crew.workload().pods[0]
    assert (pod.phase, pod.restarts, pod.reason, pod.uid) == (
        "Failed",
        2,
        "ended with exit code 4: no luck",
        "api-1.pending",
    )
    assert crew.endpoints() == []
    crew.mark(frozenset({pod.uid}))
    assert crew.scale(0, "2", 1) == Done()
    assert crew.slots == {}


async def test_a_long_life_makes_the_next_start_free(crew_of, monkeypatch):
    """It ran for a minute (here none): the failures before are forgotten."""
    monkeypatch.setattr("services.controller.backends.crew.LONG_LIFE_S", 0.0)
    events: list[Event] = []
    crew = crew_of(MUTE, events)
    crew.scale(1, "1", 1)
    await eventually(lambda: len(events) == 3, 10, "three ends")
    assert {event.message.rpartition("; ")[2] for event in events} == {"started again"}


async def test_what_cannot_be_started_is_tried_again(crew_of, monkeypatch):
    """No such program: Failed with the reason, not an exception in the loop."""
    events: list[Event] = []
    crew = crew_of(HELLO, events)
    monkeypatch.setattr(Launcher, "start", _nowhere)
    crew.scale(1, "1", 1)
    await eventually(lambda: len(events) == 2, 10, "tried again")
    assert "cannot be started" in crew.workload().pods[0].reason


def _nowhere(*_args):
    raise FileNotFoundError(2, "No such file or directory")


async def test_mute_and_draining_ones_are_not_ready(crew_of, port, monkeypatch):
    """Three probes without an answer; a drain shows in the endpoints' list."""
    monkeypatch.setattr("services.controller.backends.crew.PROBE_S", 0.02)
    crew = crew_of()
    crew.scale(1, "1", 1)
    await eventually(lambda: ready_all([crew]), 10, "ready")
    port.says = SNAPSHOT | {"ready": False, "draining": True}
    await eventually(lambda: crew.endpoints()[0]["draining"], 10, "draining")
    port.says = None
    await eventually(lambda: "control port" in crew.workload().pods[0].reason, 10, "mute")
    port.says = SNAPSHOT
    await eventually(lambda: ready_all([crew]), 10, "ready again")
    assert not crew.workload().pods[0].reason
