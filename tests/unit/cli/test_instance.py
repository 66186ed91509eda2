"""The announcement of a running instance."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from services.cli import instance as instances
from services.cli.errors import UNREACHABLE, CliError
from services.cli.instance import Instance


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Instance:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    data = tmp_path / "data"
    data.mkdir()
    return Instance(os.getpid(), "shop", "http://127.0.0.1:1", str(data), "m.yaml", "1.0.0", "now", demo=False)


def test_announced_and_found(made: Instance) -> None:
    """What `up` announces is what the other commands find, in a file only its owner reads."""
    instances.announce(made)
    assert instances.current() == made
    assert stat.S_IMODE(instances.current_file().stat().st_mode) == 0o600


def test_e111_without_one(made: Instance) -> None:
    """Without a file, with a broken one, or with a dead pid: E111, exit 5, never a traceback."""
    with pytest.raises(CliError, match="no running instance") as failed:
        instances.current()
    assert (failed.value.code, failed.value.exit_code) == ("E111", UNREACHABLE)
    instances.announce(replace(made, pid=2**22 + 1))
    with pytest.raises(CliError) as failed:
        instances.current()
    assert "has ended" in failed.value.why
    instances.current_file().write_text("{")
    with pytest.raises(CliError):
        instances.current()


def test_only_its_own_is_retracted(made: Instance) -> None:
    """An instance that ends does not remove the announcement of one started after it."""
    instances.announce(replace(made, pid=1))
    instances.retract(made)
    assert instances.current_file().exists()
    instances.announce(made)
    instances.retract(made)
    assert not instances.current_file().exists()


def test_files_of_the_data_folder(made: Instance) -> None:
    """Token, owner's DSN, endpoints and the object are read from the data folder; what is not there is said."""
    data = Path(made.data)
    (data / "secrets.json").write_text(json.dumps({"control_token": "t"}))
    (data / "databases.json").write_text(json.dumps({"owner": "dsn"}))
    assert (made.token(), made.owner_dsn, made.endpoints("api")) == ("t", "dsn", [])
    with pytest.raises(CliError, match="no status yet"):
        made.object()
    (made.state / "endpoints").mkdir(parents=True)
    (made.state / "endpoints" / "api.json").write_text('[{"id": "api-1"}]')
    made.object_file.write_text('{"kind": "ScalableApi"}')
    assert made.endpoints("api") == [{"id": "api-1"}]
    assert made.object() == {"kind": "ScalableApi"}


def test_written_whole_or_not_at_all(tmp_path: Path) -> None:
    """A write that fails leaves the old file and no temporary one."""
    path = tmp_path / "f"
    instances.write_private(path, "old")
    with pytest.raises(TypeError):
        instances.write_private(path, 3)  # type: ignore[arg-type]
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_alive() -> None:
    """Our own pid lives; a pid beyond the kernel's range does not."""
    assert instances.alive(os.getpid())
    assert not instances.alive(2**22 + 1)
