"""The migrations and their runner on a real Postgres: schema, grants, chain, triggers, and what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from services.runtime import migrate
from services.runtime.migrations import MigrationError
from services.runtime.schema_dump import dump_schema
from tests.harness.stores import Database, PostgresServer
from tests.harness.wait import eventually

APPEND = "SELECT audit_append($1, 'system', NULL, 'admin.action', NULL, NULL, '192.0.2.1', NULL, 'info', $2, 'test')"
BROKEN = """
SELECT seq FROM (
    SELECT *, lag(hash, 1, decode(repeat('00', 32), 'hex')) OVER (ORDER BY seq) AS before,
        lag(seq, 1, 0::bigint) OVER (ORDER BY seq) AS last
    FROM audit_log) AS a
WHERE prev_hash <> before OR seq <> last + 1
    OR hash <> (SELECT audit_hash(row.*) FROM audit_log AS row WHERE row.seq = a.seq)
ORDER BY seq"""


@pytest.fixture
async def empty(postgres: PostgresServer) -> AsyncIterator[Database]:
    """A database without any table."""
    async with postgres.database(template="template0") as fresh:
        yield fresh


@pytest.fixture
async def owner(database: Database) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database.owner)
    yield connection
    await connection.close()


def copy(folder: Path) -> Path:
    for file in migrate.MIGRATIONS.glob("*.sql"):
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


async def test_twice_is_once(empty: Database) -> None:
    """The second `up` finds nothing to do; `status` shows each file with when and how long."""
    first, second = await migrate.up(empty.owner), await migrate.up(empty.owner)
    lines = await migrate.status(empty.owner)
    assert len(first.ran) == first.version == second.version == len(lines)
    assert second.ran == ()
    assert all(line.applied and line.known for line in lines)


async def test_many_at_once(empty: Database) -> None:
    """Four runners at once: one works, the others wait and find it done."""
    reports = await asyncio.gather(*(migrate.up(empty.owner) for _ in range(4)))
    assert sorted(len(report.ran) for report in reports)[:3] == [0, 0, 0]
    assert await migrate.verify(empty.owner) == []


async def test_schema_sql_is_the_result(database: Database) -> None:
    """db/schema.sql is what the migrations make; if this fails after a new migration: `./dev generate schema`."""
    assert await migrate.verify(database.owner) == []


async def test_schema_sql_is_runnable(empty: Database) -> None:
    """Run on an empty database it makes the same schema."""
    connection = await asyncpg.connect(empty.owner)
    await connection.execute(migrate.SCHEMA.read_text(encoding="utf-8"))
    assert await dump_schema(connection) == migrate.SCHEMA.read_text(encoding="utf-8")
    await connection.close()


async def test_verify_names_the_difference(database: Database, owner: asyncpg.Connection) -> None:
    """A column added by hand is named."""
    await owner.execute("ALTER TABLE users ADD COLUMN extra int")
    (fault,) = await migrate.verify(database.owner)
    assert "extra" in fault


async def test_an_edited_file_is_refused(database: Database, tmp_path: Path) -> None:
    """A file whose text changed after it ran stops `up` and shows in `verify` (S5)."""
    folder = copy(tmp_path)
    file = folder / "0002_expand_users.sql"
    file.write_text(file.read_text() + "-- one more line\n")
    with pytest.raises(MigrationError, match=r"0002_expand_users\.sql was edited"):
        await migrate.up(database.owner, folder=folder)
    assert "edited" in (await migrate.verify(database.owner, folder=folder))[0]


async def test_ahead_by_expand_is_fine_by_contract_is_not(database: Database, tmp_path: Path) -> None:
    """Code N runs on schema N + 1 if that only expands; an unknown contract file is E108 and changes nothing."""
    newer = copy(tmp_path)
    number = len(list(newer.glob("*.sql"))) + 1
    (newer / f"{number:04d}_expand_more.sql").write_text("CREATE TABLE more (id int);")
    await migrate.up(database.owner, folder=newer)
    assert (await migrate.up(database.owner)).ran == ()
    (newer / f"{number + 1:04d}_contract_less.sql").write_text("DROP TABLE more;")
    await migrate.up(database.owner, folder=newer)
    with pytest.raises(MigrationError, match="contract_less") as caught:
        await migrate.up(database.owner)
    assert caught.value.code == "E108"


async def test_a_failing_file_leaves_nothing(database: Database, tmp_path: Path) -> None:
    """Half of a file is not applied, and it runs again once it is right."""
    folder = copy(tmp_path)
    file = folder / f"{len(list(folder.glob('*.sql'))) + 1:04d}_expand_half.sql"
    file.write_text("CREATE TABLE half (id int);\nSELECT 1 / 0;")
    with pytest.raises(MigrationError, match="division by zero"):
        await migrate.up(database.owner, folder=folder)
    file.write_text("CREATE TABLE half (id int);")
    assert (await migrate.up(database.owner, folder=folder)).ran == (file.name,)


async def test_no_transaction_files(database: Database, tmp_path: Path) -> None:
    """CREATE INDEX CONCURRENTLY works in a file that asks to run without a transaction."""
    folder = copy(tmp_path)
    number = len(list(folder.glob("*.sql"))) + 1
    indexes = ("CREATE INDEX CONCURRENTLY a ON users (tier);", "CREATE INDEX CONCURRENTLY b ON users (last_login);")
    text = "\n-- and\n".join(("-- no-transaction", *indexes))
    (folder / f"{number:04d}_expand_indexes.sql").write_text(text)
    assert len((await migrate.up(database.owner, folder=folder)).ran) == 1


async def test_a_held_lock_is_waited_for(
    database: Database, owner: asyncpg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A migration gives up a lock after lock_timeout and tries again, instead of queueing everybody behind itself."""
    monkeypatch.setitem(migrate._SESSION, "lock_timeout", "100")
    folder = copy(tmp_path)
    number = len(list(folder.glob("*.sql"))) + 1
    (folder / f"{number:04d}_expand_column.sql").write_text("ALTER TABLE users ADD COLUMN note text;")
    hold = owner.transaction()
    await hold.start()
    await owner.execute("LOCK TABLE users IN ACCESS SHARE MODE")
    running = asyncio.ensure_future(migrate.up(database.owner, folder=folder))
    waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'users'::regclass)"
    await eventually(lambda: owner.fetchval(waits), 5, "the migration waits for the lock", every_s=0.005)
    await eventually(lambda: owner.fetchval(f"SELECT NOT ({waits})"), 5, "it has let go", every_s=0.005)
    await hold.rollback()
    assert len((await running).ran) == 1


async def test_roles_may_do_their_part_only(database: Database) -> None:
    """scalable_app: no DDL, no change of the audit log; scalable_gateway: the two views, nothing else."""
    app, gateway = await asyncpg.connect(database.app), await asyncpg.connect(database.gateway)
    await app.fetch("SELECT * FROM users")
    await app.fetchval(APPEND, uuid4(), "{}")
    forbidden = [
        (app, "CREATE TABLE x (id int)"),
        (app, "DELETE FROM audit_log"),
        (app, "UPDATE audit_head SET seq = 0"),
        (app, "INSERT INTO audit_log SELECT * FROM audit_log"),
        (app, "TRUNCATE audit_log"),
        (gateway, "SELECT * FROM users"),
        (gateway, "SELECT * FROM api_keys"),
        (gateway, "SELECT audit_append(NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)"),
    ]
    for connection, statement in forbidden:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    await gateway.fetch("SELECT * FROM gateway_keys")
    await gateway.fetch("SELECT * FROM gateway_overrides")
    await app.close()
    await gateway.close()


async def test_absent_roles_are_skipped(owner: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database without the runtime roles migrates all the same, and none is made."""
    monkeypatch.setattr(migrate, "ROLES", ("nobody_made_this_one",))
    await migrate.grant(owner)
    assert await owner.fetchval("SELECT count(*) FROM pg_roles WHERE rolname = 'nobody_made_this_one'") == 0


async def test_audit_chain_of_64_writers(database: Database, owner: asyncpg.Connection) -> None:
    """64 writers at once leave no gap, every hash covers its row and the one before, the head is the last row."""
    await asyncio.gather(*(_append(database.app, n) for n in range(64)))
    assert await owner.fetch(BROKEN) == []
    head = await owner.fetchrow("SELECT seq, hash FROM audit_head")
    last = await owner.fetchrow("SELECT seq, hash FROM audit_log ORDER BY seq DESC LIMIT 1")
    assert head is not None
    assert last is not None
    assert head["seq"] == last["seq"] == 64
    assert head["hash"] == last["hash"]


async def test_audit_chain_shows_tampering(owner: asyncpg.Connection) -> None:
    """A changed row and a removed row are each named; the time zone of the reader makes no difference."""
    for n in range(5):
        await owner.fetchval(APPEND, uuid4(), f'{{"n": {n}}}')
    await owner.execute("SET timezone = 'Asia/Tokyo'; SET bytea_output = 'escape'")
    assert await owner.fetch(BROKEN) == []
    await owner.execute("ALTER TABLE audit_log DISABLE TRIGGER ALL")
    await owner.execute("UPDATE audit_log SET severity = 'notice' WHERE seq = 2")
    assert [row["seq"] for row in await owner.fetch(BROKEN)] == [2]
    await owner.execute("DELETE FROM audit_log WHERE seq = 4")
    assert [row["seq"] for row in await owner.fetch(BROKEN)] == [2, 5]


async def test_audit_is_append_only_and_says_an_event_once(owner: asyncpg.Connection) -> None:
    """UPDATE, DELETE and TRUNCATE raise even for the owner; the same event id keeps its number."""
    event = uuid4()
    assert await owner.fetchval(APPEND, event, "{}") == await owner.fetchval(APPEND, event, "{}")
    for statement in ("UPDATE audit_log SET details = '{}'", "DELETE FROM audit_log", "TRUNCATE audit_log"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
            await owner.execute(statement)


async def test_triggers_keep_version_and_updated_at(owner: asyncpg.Connection) -> None:
    """Every UPDATE of a resource raises its version and moves updated_at, whoever writes it."""
    before = await owner.fetchrow("SELECT version, updated_at FROM resources WHERE id = 1")
    after = await owner.fetchrow(
        "UPDATE resources SET name = 'x', version = 1 WHERE id = 1 RETURNING version, updated_at"
    )
    assert before is not None
    assert after is not None
    assert after["version"] == before["version"] + 1
    assert after["updated_at"] > before["updated_at"]


async def test_changes_by_hand_are_notified(owner: asyncpg.Connection, database: Database) -> None:
    """pg_notify names what changed; a login, which changes nobody's rights, says nothing."""
    heard: list[object] = []
    listener = await asyncpg.connect(database.owner)
    await listener.add_listener("inv", lambda *message: heard.append(message[3]))
    user = "00000000-0000-0000-0000-000000000002"
    await owner.execute("UPDATE users SET last_login = now()")
    await owner.execute("UPDATE users SET tier = 'pro' WHERE id = $1", user)
    await owner.execute(
        "INSERT INTO rate_limit_configs (identifier, requests_per_minute, reason, created_by) "
        "VALUES ('ip:192.0.2.0/24', 0, 'test', $1)",
        user,
    )
    await eventually(lambda: heard == [f"user:{user}", "override:ip:192.0.2.0/24"], 5, "both notices")
    await listener.close()
    assert heard == [f"user:{user}", "override:ip:192.0.2.0/24"]  # and no others


async def test_demo_rows_once(database: Database, owner: asyncpg.Connection) -> None:
    """Demo rows twice are the same rows: two users, a hundred resources; demo keys are replaced, never collected."""
    await migrate.demo_rows(database.owner)
    first = await migrate.demo_keys(database.owner, 1, b"p" * 32)
    second = await migrate.demo_keys(database.owner, 1, b"p" * 32)
    counted = "SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM resources), (SELECT count(*) FROM api_keys)"
    counts = await owner.fetchrow(counted)
    assert counts is not None
    assert tuple(counts) == (2, 100, 3)
    assert set(first) == {"free", "pro", "enterprise"}
    assert not set(first.values()) & set(second.values())


async def test_first_admin(empty: Database) -> None:
    """Without an admin ADMIN_EMAIL becomes one, with a password to be changed; with one, nothing happens."""
    await migrate.up(empty.owner)
    chosen = await migrate.first_admin(empty.owner, "root@example.com", None)
    assert chosen
    assert await migrate.first_admin(empty.owner, "second@example.com", "irrelevant") is None
    connection = await asyncpg.connect(empty.owner)
    row = await connection.fetchrow("SELECT email, role, must_change_password, password_hash FROM users")
    await connection.close()
    assert row is not None
    assert (row["email"], row["role"], row["must_change_password"]) == ("root@example.com", "admin", True)
    assert row["password_hash"].startswith("$argon2id$")
    assert chosen not in row["password_hash"]


async def _append(dsn: str, n: int) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.fetchval(APPEND, uuid4(), f'{{"n": {n}}}')
    finally:
        await connection.close()
