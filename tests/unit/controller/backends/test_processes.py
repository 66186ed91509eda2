"""The process backend's files and answers; its children are in tests/integration/test_controller.py."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from services.controller.backend import Denied, Done, Gone, Record, RetryAfter, Unchanged
from services.controller.backends import processes, record
from services.controller.backends.launch import Launcher
from services.controller.backends.processes import ProcessBackend, endpoints_file, tiers_file
from services.schema.status import Status, StoredObject
from services.schema.tiers import BUILT_IN
from tests.unit.controller.backends.test_manifest import TEXT


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncIterator[ProcessBackend]:
    """Over a manifest that starts nothing by itself."""
    (tmp_path / "shop.yaml").write_text(TEXT)
    (tmp_path / "token").write_text("from-a-file\n")
    state = tmp_path / "state"
    made = ProcessBackend(tmp_path / "shop.yaml", state, Launcher(tmp_path), lambda _: {}, token=tmp_path / "token")
    yield made
    await made.stop_all(1)


def state_of(backend: ProcessBackend) -> Path:
    return backend.manifest.path.parent / "state"


async def test_empty_endpoints_are_there_before_anybody_reads(backend):
    """A gateway that starts first finds an empty list, not a missing file."""
    for component in ("gateway", "balancer", "api"):
        assert json.loads(endpoints_file(state_of(backend), component).read_text()) == []


async def test_the_token_is_read_again_on_refresh(backend):
    """Kept while it works; a removed file gives ''."""
    api = backend.manifest.api
    file = state_of(backend).parent / "token"
    assert await backend.token(api, refresh=False) == "from-a-file"
    file.write_text("another")
    assert await backend.token(api, refresh=False) == "from-a-file"
    assert await backend.token(api, refresh=True) == "another"
    file.unlink()
    assert await backend.token(api, refresh=True) == ""


async def test_the_record_survives_and_counts(backend):
    """Each write is a new `seen`; a store that fails answers RetryAfter and keeps the old one."""
    api = backend.manifest.api
    assert await backend.read_record(api) is None
    assert await backend.write_record(api, Record(active=BUILT_IN), "") == Done("1")
    kept = await backend.read_record(api)
    assert kept is not None
    assert kept.seen == "1"
    assert record.restore(tiers_file(state_of(backend), "shop").parent) == kept


async def test_a_full_disk_is_an_answer(backend, monkeypatch):
    """RetryAfter for the record, Denied for the status: never an exception."""

    def full(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(record, "write_atomically", full)
    monkeypatch.setattr(processes, "write_atomically", full)
    assert await backend.write_record(backend.manifest.api, Record(active=BUILT_IN), "") == RetryAfter(1.0)
    assert await backend.publish(backend.manifest.api, Status(), "") == Denied(
        "write shop.json: No space left on device"
    )


async def test_the_state_file_is_the_object(backend):
    """Metadata, spec with defaults, status; the same again is not written."""
    api = backend.manifest.api
    status = Status(observed_generation=1)
    assert await backend.publish(api, status, "") == Done()
    assert await backend.publish(api, status, "") == Unchanged()
    stored = StoredObject.model_validate_json((state_of(backend) / "shop.json").read_bytes())
    assert (stored.status, stored.spec, stored.metadata.uid) == (status, api.spec, api.key)


async def test_what_is_not_managed_is_gone(backend):
    """A component outside the spec, or without a name of ours."""
    api = backend.manifest.api
    assert await backend.scale(api, "gateway", 1, "1") == Gone()
    assert await backend.scale(replace(api, spec=None), "api", 1, "1") == Gone()
    assert await backend.mark_victims(api, "worker", frozenset()) == Gone()
    assert await backend.mark_victims(api, "api", frozenset()) == Unchanged()
    assert set(backend.fleet(api)) == {"api"}
    assert backend.may_write()
    assert backend.pids() == []


async def test_a_cancel_that_comes_with_a_change_is_not_lost(backend):
    """The loop that waits ends: `asyncio.wait_for` of 3.11 swallowed the cancel, and Ctrl-C hung now and then."""
    waiting = asyncio.get_running_loop().create_task(backend.changed(60))
    await asyncio.sleep(0)
    backend._crew_changed("api")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_changes_wake(backend):
    """Nothing: the empty set after the time; an edited manifest or a changed crew: the object's key."""
    assert await backend.changed(0.01) == set()
    backend.manifest.path.write_text(TEXT.replace("5", "6"))
    assert await backend.changed(0.01) == {backend.manifest.api.key}
    backend._crew_changed("api")
    assert await backend.changed(5) == {backend.manifest.api.key}
