"""A run: everything is started, each chosen scenario is measured into its rows, everything is ended. Called by __main__."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvloop

from tests.harness.fleet import Fleet
from tests.harness.stores import PostgresServer, folder, postgres_server
from tests.load.bench import idle, measure, ours, packages
from tests.load.bench.peers import Peers
from tests.load.bench.processes import Cores, Processes, placed
from tests.load.bench.report import Row
from tests.load.bench.scenarios import SCENARIOS, Bench, Idle, Load
from tests.load.bench.wrk import LoadError

WARM_UP_S: Final = 2
ROUNDS: Final = 3


@dataclass(frozen=True, slots=True)
class Choice:
    """What is to be measured; no `proxies` means all. A row is named by its own name or by its lane's."""

    scenarios: Sequence[str]
    proxies: Sequence[str]
    seconds: int

    def rows(self, scenario: str, lanes: Sequence[str]) -> list[tuple[Row, Load | Idle]]:
        """Those whose lane is there."""
        found = [what for what in SCENARIOS[scenario] if what.lane in lanes]
        if self.proxies:
            found = [what for what in found if {what.name, what.lane} & set(self.proxies)]
        return [(Row(scenario, what.name), what) for what in found]


def say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def run(choice: Choice, cores: Cores) -> tuple[list[Row], dict[str, str]]:
    """The rows, and the versions of the stores."""
    rows: list[Row] = []
    stores: dict[str, str] = {}

    async def all_of_it() -> None:
        await postgres.template()
        async with _everything(where, cores, postgres) as (bench, peers, fleet):
            stores["valkey"], stores["postgres"] = bench.store_version, postgres.server.version
            for scenario in choice.scenarios:
                pairs = choice.rows(scenario, list(bench.lanes))
                rows.extend(row for row, _ in pairs)
                await _take_idle(pairs, peers, fleet)
                await _take_loads(pairs, bench, peers, choice.seconds)

    with placed(cores.others), postgres_server() as postgres, folder("sapi-bench-") as where:
        where.chmod(0o711)  # where root's nginx is another user
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(all_of_it())
    return rows, stores


@contextlib.asynccontextmanager
async def _everything(where: Path, cores: Cores, postgres: PostgresServer) -> AsyncIterator[tuple[Bench, Peers, Fleet]]:
    """Upstream, store, ours, and every peer that is here; all ended at the end."""
    processes = Processes(where)
    peers = Peers(where, processes, cores)
    try:
        upstream, store = peers.upstream(), peers.store()
        async with postgres.database() as database, ours.started(database, store, peers, upstream) as fleet:
            keys = await ours.write_keys(database, fleet, where)
            peers.nginx(keys["limited"], store)
            if packages.HAPROXY.present:
                peers.haproxy(keys["limited"])
            if packages.ENVOY.present:
                peers.envoy()
            yield Bench(peers.lanes, keys, store.version), peers, fleet
    finally:
        processes.close()


async def _take_idle(pairs: Sequence[tuple[Row, Load | Idle]], peers: Peers, fleet: Fleet) -> None:
    for row, what in pairs:
        if isinstance(what, Idle):
            with _no_figure(row, peers.processes):
                row.held = await idle.held(what, peers, fleet)
                say(f"idle {row.proxy}: {row.held.each_kib:.2f} KiB each of {row.held.connections}")


async def _take_loads(pairs: Sequence[tuple[Row, Load | Idle]], bench: Bench, peers: Peers, seconds: int) -> None:
    """A warm-up each, then the rounds in turn, so that what the machine does meanwhile hits all alike."""
    loads = [(row, what) for row, what in pairs if isinstance(what, Load)]
    for row, what in loads:
        lane = bench.lanes[what.lane]
        say(f"{row.scenario} {row.proxy}: warming up port {lane.port}, process {lane.pid}")
        with _no_figure(row, peers.processes):
            await measure.warm(bench, what, WARM_UP_S)
    for number in range(ROUNDS):
        for row, what in loads:
            if not row.error:
                with _no_figure(row, peers.processes):
                    row.rounds.append(await measure.measured(bench, what, seconds, peers.cores.proxy))
                    say(f"{row.scenario} {row.proxy}, round {number + 1}/{ROUNDS}: {row.rounds[-1]}")


@contextlib.contextmanager
def _no_figure(row: Row, processes: Processes) -> Iterator[None]:
    """A row with unexpected answers is an error, and the others go on; if a process has ended, there is no run any more."""
    try:
        yield
    except LoadError as error:
        processes.check()
        row.error = str(error)
        say(f"{row.scenario} {row.proxy}: no figure: {error}")
