"""`apply`: validate, compare, write whole."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

import pytest

from services.cli.commands import apply
from services.cli.errors import DONE, REFUSED, USAGE, WAIT_RAN_OUT, CliError
from services.cli.targets.kubectl import Where
from tests.unit.cli.commands.test_status import running, stored

MANIFEST = """\
apiVersion: scalableapi.io/v1
kind: ScalableApi
metadata: {name: shop}
spec:
  components:
  - {name: api, minReplicas: 2, maxReplicas: 4}
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    running(tmp_path, stored(), monkeypatch)
    (tmp_path / "m.yaml").write_text(MANIFEST)
    (tmp_path / "new.yaml").write_text(MANIFEST.replace("maxReplicas: 4", "maxReplicas: 8"))
    return tmp_path


def test_it_shows_and_writes_the_difference(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The lines that change are shown, the instance's manifest is replaced, its mode kept, no temporary file left."""
    (home / "m.yaml").chmod(0o640)
    assert apply.run(Where(), home / "new.yaml", dry_run=False, within_s=None) == DONE
    shown = capsys.readouterr().out
    assert "-  maxReplicas: 4" in shown
    assert "+  maxReplicas: 8" in shown
    assert (home / "m.yaml").read_text() == (home / "new.yaml").read_text()
    assert stat.S_IMODE((home / "m.yaml").stat().st_mode) == 0o640
    assert sorted(p.name for p in home.glob("*.yaml")) == ["m.yaml", "new.yaml"]


def test_dry_run_and_no_change_write_nothing(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--dry-run shows and leaves; an equal spec says unchanged."""
    apply.run(Where(), home / "new.yaml", dry_run=True, within_s=None)
    assert (home / "m.yaml").read_text() == MANIFEST
    apply.run(Where(), home / "m.yaml", dry_run=False, within_s=0)
    assert capsys.readouterr().out.endswith("unchanged\n")


def test_e106_names_line_path_and_the_nearest_name(home: Path) -> None:
    """A bad manifest is refused with all its faults and exit 4; the one in force stays."""
    bad = MANIFEST.replace("minReplicas: 2", "minReplica: 2").replace("maxReplicas: 4", "maxReplicas: many")
    (home / "bad.yaml").write_text(bad)
    with pytest.raises(CliError) as failed:
        apply.run(Where(), home / "bad.yaml", dry_run=False, within_s=None)
    assert (failed.value.code, failed.value.exit_code) == ("E106", REFUSED)
    assert "line 6" in failed.value.why
    assert "'minReplicas'" in failed.value.why
    assert "maxReplicas" in failed.value.why
    assert (home / "m.yaml").read_text() == MANIFEST


def test_l1_what_is_no_manifest_file_is_wrong_usage(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """L1: missing, a folder, a FIFO, empty, empty stdin: exit 2 with the file's name, at once."""
    (home / "empty").touch()
    os.mkfifo(home / "fifo")
    for name in ("missing", "data", "empty", "fifo"):
        with pytest.raises(CliError) as failed:
            apply.read(home / name)
        assert (failed.value.exit_code, name in failed.value.what) == (USAGE, True)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
    with pytest.raises(CliError, match="- is empty"):
        apply.read(Path("-"))


def test_another_name_is_refused(home: Path) -> None:
    """One instance runs one object: a manifest of another name is refused with both names."""
    (home / "other.yaml").write_text(MANIFEST.replace("shop", "store"))
    with pytest.raises(CliError, match="one instance") as failed:
        apply.run(Where(), home / "other.yaml", dry_run=False, within_s=None)
    assert failed.value.exit_code == REFUSED


def test_wait_runs_out(home: Path) -> None:
    """--wait ends with 6 when the controller has not taken it over in time."""
    assert apply.run(Where(), home / "new.yaml", dry_run=False, within_s=0.01) == WAIT_RAN_OUT


def test_a_link_stays_a_link(home: Path) -> None:
    """A manifest behind a symbolic link is replaced where it lies."""
    (home / "real.yaml").write_text(MANIFEST)
    (home / "m.yaml").unlink()
    (home / "m.yaml").symlink_to(home / "real.yaml")
    apply.run(Where(), home / "new.yaml", dry_run=False, within_s=None)
    assert (home / "m.yaml").is_symlink()
    assert "maxReplicas: 8" in (home / "real.yaml").read_text()
