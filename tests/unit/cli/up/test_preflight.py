"""Everything that is wrong, at once, before anything is started."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from services.cli.embedded import postgres, valkey
from services.cli.errors import USAGE, CliError, ProblemsError
from services.cli.output import Format
from services.cli.up import preflight
from services.cli.up.options import Options


def codes(options: Options) -> list[str]:
    with pytest.raises(CliError) as failed:
        preflight.check(options)
    error = failed.value
    return [p.code for p in (error.problems if isinstance(error, ProblemsError) else (error,))]


def test_all_problems_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad manifest, missing binaries, a taken port and an unusable folder are told together; nothing is left held."""
    monkeypatch.setattr(postgres, "find", lambda: None)
    monkeypatch.setattr(valkey, "find", lambda: None)
    (tmp_path / "m.yaml").write_text("kind: Nonsense\n")
    (tmp_path / "data").touch()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        options = Options(file=tmp_path / "m.yaml", data_dir=tmp_path / "data", port=taken.getsockname()[1])
        assert codes(options) == ["E106", "E102", "E103", "E101", "E105"]


def test_given_stores_need_no_binary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With both URLs no binary is looked for; the quickstart is copied to be edited; demo is on without a file."""
    monkeypatch.setattr(postgres, "find", lambda: None)
    monkeypatch.setattr(valkey, "find", lambda: None)
    ready = preflight.check(Options(data_dir=tmp_path / "d", port=0, database_url="x", redis_url="y"))
    assert (ready.manifest.metadata.name, ready.demo, ready.postgres) == ("scalable-api", True, None)
    assert ready.manifest_path == tmp_path / "d" / "scalableapi.yaml"
    assert ready.manifest_path.read_bytes() == preflight.quickstart().read_bytes()
    ready.port.release()
    ready.folder.release()


def test_a_file_is_watched_where_it_lies(tmp_path: Path) -> None:
    """With -f there is no copy, and no demo unless asked for."""
    (tmp_path / "m.yaml").write_bytes(preflight.quickstart().read_bytes())
    ready = preflight.check(
        Options(file=tmp_path / "m.yaml", data_dir=tmp_path / "d", port=0, database_url="x", redis_url="y")
    )
    assert (ready.manifest_path, ready.demo) == (tmp_path / "m.yaml", False)
    ready.port.release()
    ready.folder.release()


def test_demo_stays_at_home(tmp_path: Path) -> None:
    """Demo users and keys are known to all: asked for on an open address they are refused, by default they are off."""
    data = tmp_path / "d"
    open_host = Options(data_dir=data, port=0, host="0.0.0.0", demo=True)  # the case under test
    with pytest.raises(CliError, match="demo mode only on this machine") as failed:
        preflight.check(open_host)
    assert failed.value.exit_code == USAGE
    ready = preflight.check(Options(data_dir=data, port=0, host="0.0.0.0", database_url="x", redis_url="y"))
    assert not ready.demo
    ready.port.release()
    ready.folder.release()


@pytest.mark.parametrize("over", [{"log_level": "loud"}, {"form": Format.name}])
def test_wrong_words(over: dict[str, object], tmp_path: Path) -> None:
    """A log level or form that is none is wrong usage."""
    with pytest.raises(CliError) as failed:
        preflight.check(Options(data_dir=tmp_path / "d", port=0, **over))  # type: ignore[arg-type]
    assert failed.value.exit_code == USAGE


def test_s1_an_unknown_setting_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S1: a SCALABLE_ name nobody knows stops the start, named."""
    monkeypatch.setenv("SCALABLE_PROT", "80")
    with pytest.raises(CliError) as failed:
        preflight.check(Options(data_dir=tmp_path / "d", port=0))
    assert "SCALABLE_PROT" in failed.value.why
