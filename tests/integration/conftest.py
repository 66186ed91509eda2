"""Fixtures of the integration tests: real stores, one server each per session; a fresh database and an empty Valkey
per test.

`postgres` and `valkey` are the servers. `database` is a migrated database of the test's own (a DSN per role). A test
that kills or stops a store takes `own_valkey`. Processes: `async with Fleet(...)` of tests/harness/fleet.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.harness import stores
from tests.harness.netless import netless
from tests.harness.stores import Database, PostgresServer, ValkeyServer


@pytest.fixture(autouse=True)
def _local_only() -> Iterator[None]:
    with netless():
        yield


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The session's Postgres, with the migrated template database."""
    with stores.postgres_server() as server:
        stores.run(server.template())
        yield server


@pytest.fixture(scope="session")
def _valkey() -> Iterator[ValkeyServer]:
    with stores.valkey_server() as server:
        yield server


@pytest.fixture
async def database(postgres: PostgresServer) -> AsyncIterator[Database]:
    """A migrated database with demo rows, of this test alone."""
    async with postgres.database() as fresh:
        yield fresh


@pytest.fixture
async def valkey(_valkey: ValkeyServer) -> ValkeyServer:
    """The session's Valkey, emptied."""
    await _valkey.flush()
    return _valkey


@pytest.fixture
def own_valkey() -> Iterator[ValkeyServer]:
    """A Valkey of this test alone, to kill and start again."""
    with stores.valkey_server() as server:
        yield server
