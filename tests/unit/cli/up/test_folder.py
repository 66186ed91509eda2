"""The data folder: who has it, what a killed start left, what goes."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from services.cli.errors import CliError
from services.cli.up import folder


def test_a_temporary_folder_goes_a_kept_one_stays(tmp_path: Path) -> None:
    """Without a wish it is a fresh temporary one, removed at release; a folder of the user's is kept."""
    fresh = folder.claim(None)
    assert fresh.temporary
    assert fresh.path.name.startswith("scalable-api-")
    assert stat.S_IMODE(fresh.logs.stat().st_mode) == 0o700
    fresh.release()
    assert not fresh.path.exists()
    kept = folder.claim(tmp_path / "deep" / "data")
    kept.note_children([1])
    kept.release()
    assert sorted(p.name for p in kept.path.iterdir()) == ["logs", "state", "up.lock"]


def test_e104_names_who_holds_it(tmp_path: Path) -> None:
    """A second `up` on the same folder is refused with the first one's pid and changes nothing."""
    first = folder.claim(tmp_path)
    try:
        with pytest.raises(CliError) as failed:
            folder.claim(tmp_path)
        assert failed.value.code == "E104"
        assert str(os.getpid()) in failed.value.why
    finally:
        first.release()


def test_l5_the_lock_of_a_dead_process_is_taken_over(tmp_path: Path) -> None:
    """L5: a lock file whose process is gone is no obstacle."""
    (tmp_path / "up.lock").write_text("4194305\n")
    lock = folder.claim(tmp_path)
    assert (tmp_path / "up.lock").read_text().split() == [str(os.getpid())]
    lock.release()


def test_e105_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that cannot be written: E105 with the system's reason."""

    def denied(path: Path, *_: object) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.open", denied)
    with pytest.raises(CliError) as failed:
        folder.claim(tmp_path / "data")
    assert (failed.value.code, "Permission denied" in failed.value.why) == ("E105", True)


def test_e105_a_file_in_the_way(tmp_path: Path) -> None:
    """A path that is a file: E105 with its name."""
    (tmp_path / "data").touch()
    with pytest.raises(CliError) as failed:
        folder.claim(tmp_path / "data")
    assert failed.value.code == "E105"


def test_leftovers_end_only_if_they_are_ours(tmp_path: Path) -> None:
    """A noted pid is ended when its command line names the folder; a pid that now is somebody else's is left alone."""
    script = "import sys; print(flush=True); sys.stdin.read()"
    ours = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert ours.stdin is not None
    assert ours.stdout is not None
    ours.stdout.readline()  # until then its command line may still be empty
    (tmp_path / "children.json").write_text(json.dumps([ours.pid, os.getpid()]))
    folder.end_leftovers(tmp_path)
    assert ours.wait(5) == -9
    ours.stdin.close()
    ours.stdout.close()
    assert not (tmp_path / "children.json").exists()


@pytest.mark.parametrize("note", [None, "{", "7", '["x"]', "null"])
def test_a_damaged_note_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, note: str | None) -> None:
    """No note, or one that is no list of pids: nothing is ended."""
    ended: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, _signal: ended.append(pid))
    if note is not None:
        (tmp_path / "children.json").write_text(note)
    folder.end_leftovers(tmp_path)
    assert ended == []


def test_sweep_removes_what_a_killed_start_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Temporary folders whose lock is free go; one in use, and one without a lock, stay."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    used = folder.claim(None)
    left, other = tmp_path / "scalable-api-left", tmp_path / "scalable-api-other"
    left.mkdir()
    (left / "up.lock").touch()
    other.mkdir()
    folder.sweep()
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([used.path.name, other.name])
    used.release()
