"""The demo's phases (platform.md §2): what load, what goes wrong, and the sentence about what was seen."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from services.cli.api_client import ApiClient
from services.cli.instance import Instance
from services.cli.traffic import mix
from services.cli.traffic.streams import Sender, Stream, Tally, beside

RATE_MAX: Final = 300.0  # requests/s, whatever --demo-rate says: it is a demo, not a benchmark
EXTERNAL: Final = "/api/v1/admin/external"
PURGE: Final = "/api/v1/admin/cache/purge"
USUAL: Final = {"failureRate": 0.1, "latencyMs": 200, "hang": False}
BROKEN: Final = {"failureRate": 1, "latencyMs": 800, "hang": False}


@dataclass(slots=True)
class Stage:
    """What a phase works with."""

    instance: Instance
    keys: Mapping[str, str]
    sender: Sender
    admin: ApiClient
    factor: float

    def rate(self, usual: float) -> float:
        return min(RATE_MAX, usual * self.factor)


@dataclass(frozen=True, slots=True)
class Phase:
    """`run` answers with the sentence about what was seen."""

    name: str
    seconds: float
    run: Callable[[Stage, float], Awaitable[str]]


async def steady(stage: Stage, seconds: float) -> str:
    tally = Tally()
    await stage.sender.run(mix.steady(stage.keys, stage.rate(40)), seconds, tally)
    return f"{tally.sent} requests over four tiers, {tally.ok} served, {tally.failed} failed"


async def burst(stage: Stage, seconds: float) -> str:
    """One subscriber far above its quota: it is refused, the others are not."""
    one = [Stream(stage.rate(100), lambda _: mix.listing(stage.keys["free"]))]
    greedy, others = await apart(stage, seconds, one, mix.reads(stage.keys, stage.rate(20)))
    said = f"the first Retry-After {greedy.retry_after} s" if greedy.retry_after else "no refusal"
    return f"one free key: {greedy.ok} admitted, {greedy.limited} refused, {said}; others: {others.limited} refused"


async def apart(stage: Stage, seconds: float, one: list[Stream], others: list[Stream]) -> tuple[Tally, Tally]:
    """Two groups of streams at once, counted apart."""
    counts = Tally(), Tally()
    await asyncio.gather(*(stage.sender.run(s, seconds, t) for s, t in zip((one, others), counts, strict=True)))
    return counts


async def rush(stage: Stage, seconds: float) -> str:
    before, tally = len(stage.instance.endpoints("api")), Tally()
    await stage.sender.run(mix.reads(stage.keys, stage.rate(250)), seconds, tally)
    after = len(stage.instance.endpoints("api"))
    return (
        f"{tally.sent} requests, {tally.failed} failed; api {before} → {after}, why: scalable-api explain scaling api"
    )


async def slow_upstream(stage: Stage, seconds: float) -> str:
    """The external dependency fails: after five failures its breaker answers in its place. Without the purge the api
    would go on with the last good answer for an hour.
    """
    await stage.admin.call("PUT", EXTERNAL, BROKEN)
    await stage.admin.call("POST", PURGE, {"namespace": "external"})
    calls = [Stream(stage.rate(20), lambda _: mix.external(stage.keys["enterprise"]))]
    external, others = await apart(stage, seconds, calls, mix.reads(stage.keys, stage.rate(20)))
    answers = sorted(external.open_ms)
    median = f", median {answers[len(answers) // 2]:.1f} ms" if answers else ""
    refused = f"{len(answers)} refused by the open breaker{median}"
    return f"{external.codes['EXTERNAL_ERROR']} external errors, then {refused}; others: {others.failed} failed"


async def crash(stage: Stage, seconds: float) -> str:
    """SIGKILL of an api under load: retries hide it, the controller replaces it."""
    tally, killed = Tally(), list[int]()

    async def kill() -> None:
        pids = children(stage.instance.pid, "services.api")
        if len(pids) > 1:  # alone it would be no crash but an outage
            os.kill(pids[0], signal.SIGKILL)
            killed.append(pids[0])

    await beside(stage.sender.run(mix.reads(stage.keys, stage.rate(60)), seconds, tally), kill, seconds / 4)
    what = f"SIGKILL of api pid {killed[0]}" if killed else "no second api to kill"
    return f"{what}: {tally.failed} of {tally.sent} reads failed"


async def recovery(stage: Stage, seconds: float) -> str:
    await stage.admin.call("PUT", EXTERNAL, USUAL)
    probe = [Stream(stage.rate(2), lambda _: mix.external(stage.keys["enterprise"]))]
    calls, _ = await apart(stage, seconds, probe, mix.reads(stage.keys, stage.rate(20)))
    return f"external answers again ({calls.ok} of {calls.sent}); api is down to {len(stage.instance.endpoints('api'))}"


async def stampede(stage: Stage, seconds: float) -> str:
    """The cache is purged under load: one call per key goes to the origin, the others wait for it."""
    tally = Tally()
    before = await misses(stage.admin)

    async def purge() -> None:
        await stage.admin.call("POST", PURGE, {"namespace": "resources"})

    await beside(stage.sender.run(mix.reads(stage.keys, stage.rate(150)), seconds, tally), purge, seconds / 4)
    return f"purged under load: {await misses(stage.admin) - before} origin calls for {tally.sent} requests"


async def misses(admin: ApiClient) -> int:
    found: Any = await admin.call("GET", "/api/v1/admin/cache")
    return int(found["misses"])


PHASES: Final = (
    Phase("steady", 30, steady),
    Phase("burst", 25, burst),
    Phase("rush", 45, rush),
    Phase("slow upstream", 30, slow_upstream),
    Phase("crash", 20, crash),
    Phase("recovery", 40, recovery),
    Phase("stampede", 20, stampede),
)


def children(parent: int, word: str) -> list[int]:
    """Pids of the parent's children whose command line holds `word`, oldest first."""
    processes = Path("/proc")
    if (processes / "self" / "stat").exists():
        pids = [int(entry.name) for entry in processes.iterdir() if entry.name.isdigit()]
        return sorted(pid for pid in pids if _is_child(pid, parent, word))
    done = subprocess.run(["ps", "-axo", "pid=,ppid=,command="], capture_output=True, text=True, check=False)
    rows = [line.split(None, 2) for line in done.stdout.splitlines()]
    return sorted(int(r[0]) for r in rows if len(r) == 3 and r[1] == str(parent) and word in r[2])


def _is_child(pid: int, parent: int, word: str) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return int(stat.rpartition(")")[2].split()[1]) == parent and word.encode() in command
