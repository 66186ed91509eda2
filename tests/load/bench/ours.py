"""Our gateway and balancer as real processes, over real Postgres and Valkey, one hop before the upstream as the peers are.

Called by __main__. The keys are real ones in Postgres: the gateway looks each up once and knows it for the whole run.
"""

from __future__ import annotations

import base64
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import asyncpg

from services.cli.embedded.child import Running
from services.cli.up.environment import allocator
from services.core.credentials import key_hash, make_key, parse_key
from services.schema.tiers import BUILT_IN, Policy, RouteRule, Tier, TiersSpec
from tests.harness.fleet import Fleet
from tests.harness.stores import Database, ValkeyServer
from tests.load.bench.peers import Peers
from tests.load.bench.processes import free_ports, placed
from tests.load.bench.scenarios import Lane

KEYS: Final = 1000
OWNER: Final = "00000000-0000-0000-0000-000000000001"  # the demo's administrator
NEVER_REACHED: Final = 100_000_000  # requests a minute, of one key
DAY_S: Final = 86_400
KEYS_KNOWN_S: Final = "900"
"""KEY_CACHE_TTL, by default a minute. The peers' key maps never expire; and a row that waited for its turn that long would begin with a
thousand look-ups at once, on the busy cores of the load."""
TIER_OF: Final = {"limited": "bench", "refused": "benchrefused", "tiers": "pro"}


def tiers() -> TiersSpec:
    """Beside the built-in tiers: one `sliding` policy as the peers have it, and one that the first request uses up for a day."""
    spec = BUILT_IN.spec
    own = (
        _tier("bench", Policy(name="bench", quota=NEVER_REACHED, window=60, algorithm="sliding")),
        _tier("benchrefused", Policy(name="benchrefused", quota=1, window=DAY_S, algorithm="sliding")),
    )
    routes = tuple(_cost_one(rule) for rule in spec.routes)
    return spec.model_copy(update={"tiers": (*spec.tiers, *own), "routes": routes})


def _tier(name: str, policy: Policy) -> Tier:
    return Tier(name=name, criticality="critical", policies=(policy,))


def _cost_one(rule: RouteRule) -> RouteRule:
    """A quota of one can hold no dearer route."""
    return rule.model_copy(update={"cost": min(rule.cost, 1)}) if rule.cost else rule


@contextlib.asynccontextmanager
async def started(database: Database, store: Running, peers: Peers, upstream: tuple[int, ...]) -> AsyncIterator[Fleet]:
    """Gateway, balancer and bare engine, their lanes added to the peers'."""
    servers = ",".join(f"http://127.0.0.1:{port}" for port in upstream)
    common = {"LOG_LEVEL": "warning"}
    gateway_env = {**common, "BALANCERS": servers, "KEY_CACHE_TTL": KEYS_KNOWN_S}
    env = {"gateway": gateway_env, "balancer": {**common, "API_SERVERS": servers}}
    fleet = Fleet(database, ValkeyServer(peers.folder, store), apis=0, env=env, tiers=tiers())
    core = frozenset({peers.cores.proxy})
    async with contextlib.AsyncExitStack() as stack:
        with placed(core):
            await stack.enter_async_context(fleet)
        (port,) = free_ports(1)
        argv = [sys.executable, "-m", "tests.load.plain_proxy", str(port), *map(str, upstream)]
        engine = peers.processes.start("engine", argv, port, core, env=allocator())
        gateway, balancer = fleet.gateway_nodes[0], fleet.balancer_nodes[0]
        peers.lanes |= {
            "engine": Lane(port, engine.pid),
            "balancer": Lane(balancer.port, balancer.pid),
            "gateway": Lane(gateway.port, gateway.pid, store.process.pid),
        }
        yield fleet


async def write_keys(database: Database, fleet: Fleet, folder: Path) -> dict[str, Path]:
    """A thousand keys of each kind into Postgres, and a file of them each."""
    number, _, pepper = fleet.plan.secrets.api_key_peppers.partition(":")
    files = {}
    connection = await asyncpg.connect(database.admin)
    try:
        for kind, tier in TIER_OF.items():
            keys = [make_key("test", os.urandom(10), os.urandom(32)) for _ in range(KEYS)]
            rows = [_row(key, tier, int(number), base64.b64decode(pepper)) for key in keys]
            await connection.copy_records_to_table("api_keys", records=rows, columns=COLUMNS)
            files[kind] = folder / f"{kind}.keys"
            files[kind].write_text("\n".join(keys) + "\n")
    finally:
        await connection.close()
    return files


COLUMNS: Final = ("id", "user_id", "key_hash", "pepper_id", "name", "tier", "scopes", "env")


def _row(key: str, tier: str, pepper_id: int, pepper: bytes) -> tuple[object, ...]:
    found = parse_key(key.encode())
    assert found is not None
    return found.id, OWNER, key_hash(pepper, key.encode()), pepper_id, "bench", tier, ["read"], found.env
