"""The phases: their order and length, and the sentence each says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from services.cli.instance import Instance
from services.cli.traffic import phases
from services.cli.traffic.connection import Reply
from services.cli.traffic.phases import PHASES, Stage
from services.cli.traffic.streams import Stream, Tally


@dataclass
class FakeSender:
    """Answers every stream with the same replies."""

    replies: list[Reply]
    rates: list[float] = field(default_factory=list)

    async def run(self, streams: list[Stream], seconds: float, tally: Tally) -> None:
        self.rates.append(sum(s.rate for s in streams))
        for reply in self.replies:
            tally.add(reply, seconds)


@dataclass
class FakeAdmin:
    calls: list[tuple[Any, ...]] = field(default_factory=list)

    async def call(self, *asked: Any) -> dict[str, int]:
        self.calls.append(asked)
        return {"misses": 7 * len(self.calls)}


def stage(tmp_path: Path, *replies: Reply, factor: float = 1.0) -> Stage:
    instance = Instance(os.getpid(), "q", "http://x", str(tmp_path), "m", "1", "", demo=True)
    keys = {"free": "F", "pro": "P", "enterprise": "E"}
    return Stage(instance, keys, FakeSender(list(replies)), FakeAdmin(), factor)  # type: ignore[arg-type]


def test_order_and_length() -> None:
    """Steady, burst, rush, slow upstream, crash, recovery, stampede: three and a half minutes."""
    assert [p.name for p in PHASES] == ["steady", "burst", "rush", "slow upstream", "crash", "recovery", "stampede"]
    assert sum(p.seconds for p in PHASES) == 210


def test_the_rate_is_bounded(tmp_path: Path) -> None:
    """--demo-rate multiplies, never above 300 requests a second."""
    assert stage(tmp_path, factor=0.5).rate(40) == 20
    assert stage(tmp_path, factor=10).rate(250) == 300


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("steady", "3 requests over four tiers, 1 served"),
        ("burst", "1 admitted, 1 refused, the first Retry-After 12 s"),
        ("rush", "explain scaling api"),
        ("slow upstream", "refused by the open breaker, median"),
        ("crash", "no second api to kill"),
        ("recovery", "external answers again"),
        ("stampede", "14 origin calls for 3 requests"),
    ],
)
async def test_each_phase_says_what_was_seen(name: str, part: str, tmp_path: Path) -> None:
    """The sentence has the numbers of what happened."""
    replies = [Reply(200), Reply(429, {"retry-after": "12"}), Reply(503, {}, b"CIRCUIT_OPEN")]
    (phase,) = [p for p in PHASES if p.name == name]
    assert part in await phase.run(stage(tmp_path, *replies), 0.01)


def test_children_are_found_by_parent_and_word() -> None:
    """Only children of that parent with that word in their command line: what the crash may kill."""
    child = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()", "services.api"], stdin=subprocess.PIPE
    )
    try:
        while not phases.children(os.getpid(), "services.api"):
            pass
        assert phases.children(os.getpid(), "services.api") == [child.pid]
        assert phases.children(os.getpid(), "services.gateway") == []
        assert phases.children(1, "services.api") == []
    finally:
        child.send_signal(signal.SIGKILL)
        child.communicate()
