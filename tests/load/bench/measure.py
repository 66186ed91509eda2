"""One round of one row: load from the other cores, the proxy's CPU from /proc, foreign load on its core noticed. Called by __main__.

A round with too much foreign load is repeated and the one with the least of it is taken: chosen by load, never by result.
"""

from __future__ import annotations

import http.client
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from tests.load.bench import proc, wrk
from tests.load.bench.peers import BODY, PATH
from tests.load.bench.proc import Cpu
from tests.load.bench.scenarios import Bench, Load
from tests.load.bench.wrk import LoadError, Said

FOREIGN_MAX: Final = 0.12  # of the proxy's core
REPEATS_MAX: Final = 2


@dataclass(frozen=True, slots=True)
class Round:
    """Per request where the unit is µs; `util` and `foreign` are shares of the proxy's core."""

    rps: float
    p50_us: float
    p99_us: float
    cpu_us: float
    user_us: float
    sys_us: float
    util: float
    rss_kib: int
    store_us: float
    foreign: float

    def __str__(self) -> str:
        return f"{self.cpu_us:.1f} µs, {self.rps:.0f} req/s, foreign load {self.foreign:.0%}"


def to_round(said: Said, used: Cpu, store: Cpu, busy_s: float, rss_kib: int) -> Round:
    """`busy_s`: how long the proxy's core was busy, whoever used it."""
    micro = 1e6 / said.requests
    return Round(
        rps=said.rps,
        p50_us=said.p50_us,
        p99_us=said.p99_us,
        cpu_us=used.total * micro,
        user_us=used.user * micro,
        sys_us=used.system * micro,
        util=used.total / said.seconds,
        rss_kib=rss_kib,
        store_us=store.total * micro,
        foreign=max(0.0, (busy_s - used.total) / said.seconds),
    )


async def measured(bench: Bench, row: Load, seconds: int, core: int) -> Round:
    """Raises LoadError if an answer was not the expected one."""
    return await quietest(lambda: _once(bench, row, seconds, core))


async def quietest(once: Callable[[], Awaitable[Round]]) -> Round:
    """The first round if nothing disturbed it; else repeated, and the least disturbed one taken."""
    best = await once()
    for _ in range(REPEATS_MAX):
        if best.foreign <= FOREIGN_MAX:
            break
        best = min(best, await once(), key=lambda one: one.foreign)
    return best


async def _once(bench: Bench, row: Load, seconds: int, core: int) -> Round:
    lane = bench.lanes[row.lane]
    pids, store = proc.tree(lane.pid), [lane.store_pid] if lane.store_pid else []
    used, store_used, busy_s = proc.cpu_of(pids), proc.cpu_of(store), proc.core_busy_s(core)
    said = await wrk.run(lane.port, bench.keys[row.keys], row.connections, seconds)
    used, store_used = proc.cpu_of(pids) - used, proc.cpu_of(store) - store_used
    busy_s = proc.core_busy_s(core) - busy_s
    if why := wrk.wrong(said, row.expect):
        raise LoadError(why)
    return to_round(said, used, store_used, busy_s, proc.rss_kib(pids))


async def warm(bench: Bench, row: Load, seconds: int) -> None:
    """Fills caches (and uses up what is to be refused), then looks at one answer whole: wrk would count any 200 or 3xx."""
    lane, keys = bench.lanes[row.lane], bench.keys[row.keys]
    await wrk.run(lane.port, keys, row.connections, seconds)
    connection = http.client.HTTPConnection("127.0.0.1", lane.port, timeout=5)
    try:
        with keys.open() as file:
            connection.request("GET", PATH, headers={"X-API-Key": file.readline().strip()})
        answer = connection.getresponse()
        body = answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        raise LoadError(f"a single request fails: {error!r}") from None
    finally:
        connection.close()
    if answer.status != row.expect or (row.expect == wrk.OK and body != BODY):
        raise LoadError(f"a single request gets {answer.status} instead of {row.expect}: {body[:300]}")
