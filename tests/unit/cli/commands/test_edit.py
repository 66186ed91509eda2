"""`scale`, `pause` and `resume` on a local instance; on a cluster: tests/cluster/test_cli.py."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from services.cli.commands import edit
from services.cli.errors import NOT_FOUND, REFUSED, USAGE, CliError
from services.cli.targets.local import Local
from tests.unit.cli.commands.test_apply import MANIFEST
from tests.unit.cli.commands.test_status import running, stored


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Local:
    """An instance whose manifest and state agree."""
    made = running(tmp_path, stored() | {"spec": yaml.safe_load(MANIFEST)["spec"]}, monkeypatch)
    Path(made.manifest).write_text(MANIFEST)
    return Local(made)


def spec_of(target: Local) -> dict[str, object]:
    return dict(yaml.safe_load(Path(target.instance.manifest).read_text())["spec"])


def test_scale_writes_count_and_mode(target: Local) -> None:
    """The api's count is spec.replicas, and its mode Manual, or the count would mean nothing."""
    edit.scale(target, "api", 3, None)
    api = {"name": "api", "minReplicas": 2, "maxReplicas": 4, "mode": "Manual"}
    assert spec_of(target) == {"components": [api], "replicas": 3}


def test_pause_and_resume(target: Local) -> None:
    """What is not named stays as it is."""
    edit.pause(target, "up, tiers", None, on=True)
    edit.pause(target, "up", None, on=False)
    assert spec_of(target)["paused"] == {"scaleUp": False, "tiers": True}


def test_comments_stay(target: Local) -> None:
    """A manifest with comments is edited around them, and keeps its mode."""
    path = Path(target.instance.manifest)
    path.write_text(MANIFEST + "# mine\n")
    path.chmod(0o640)
    edit.pause(target, "up", None, on=True)
    assert path.read_text() == MANIFEST + "  paused: {scaleUp: true}\n# mine\n"
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_layout_that_cannot_be_edited_is_refused(target: Local) -> None:
    """With the file's name, and the file stays as it is."""
    path = Path(target.instance.manifest)
    path.write_text(text := MANIFEST.replace("  - {name: api", "  -\n    name: gateway\n  - {name: api"))
    with pytest.raises(CliError, match="yours to edit") as failed:
        target.edit(target.objects()[0], lambda body: body["spec"]["components"].pop(0))
    assert (failed.value.exit_code, str(path) in failed.value.what, path.read_text()) == (REFUSED, True, text)


def test_a_reason_is_kept_while_something_is_paused(target: Local) -> None:
    """It is an annotation of the object, and gone with the last pause."""

    def annotations() -> object:
        return yaml.safe_load(Path(target.instance.manifest).read_text())["metadata"].get("annotations")

    edit.pause(target, "up,down", None, on=True, reason="sale: no moves")
    edit.pause(target, "up", None, on=False)
    assert annotations() == {edit.REASON: "sale: no moves"}
    edit.pause(target, "up,down", None, on=False)
    assert annotations() == {}


def test_what_would_be_invalid_is_refused(target: Local) -> None:
    """The file is left alone when the change makes no valid manifest."""
    with pytest.raises(CliError, match="not be valid") as failed:
        edit.scale(target, "api", 100_000_000, None)
    assert (failed.value.exit_code, Path(target.instance.manifest).read_text()) == (REFUSED, MANIFEST)


def test_wrong_words(target: Local) -> None:
    """No such component: 3; no such pause: 2."""
    with pytest.raises(CliError) as failed:
        edit.scale(target, "web", 1, None)
    assert failed.value.exit_code == NOT_FOUND
    for what in ("left", ""):
        with pytest.raises(CliError) as failed:
            edit.pause(target, what, None, on=True)
        assert failed.value.exit_code == USAGE
