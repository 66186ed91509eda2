"""`tiers` and its edits on a local instance; on a cluster: tests/cluster/test_cli.py."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from services.cli.commands import tiers
from services.cli.errors import DONE, FAILED, NOT_FOUND, REFUSED, USAGE, WAIT_RAN_OUT, CliError
from services.cli.output import Format
from services.cli.targets.local import Local
from services.controller.backend import Record
from services.controller.backends.processes import tiers_file
from services.controller.backends.record import store
from services.schema.scalable_api import load_manifest, tiers_spec
from services.schema.status import TierHistory
from services.schema.tiers import document
from tests.unit.cli.commands.test_apply import MANIFEST
from tests.unit.cli.commands.test_status import running, stored

NEW = {
    "definitions": [
        {"name": n, "criticality": "sheddable", "policies": [{"name": n, "quota": 500, "window": 60}]}
        for n in ("anonymous", "free")
    ]
}


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Local:
    """An instance whose manifest and state agree, and a file with other tiers."""
    made = running(tmp_path, stored() | {"spec": yaml.safe_load(MANIFEST)["spec"]}, monkeypatch)
    Path(made.manifest).write_text(MANIFEST)
    (tmp_path / "tiers.yaml").write_text(yaml.safe_dump(NEW))
    return Local(made)


def test_who_enforces_it(target: Local, capsys: pytest.CaptureFixture[str]) -> None:
    """Revision, acks and who is behind; 1 while somebody is."""
    assert tiers.show(target, Format.table, None) == FAILED
    shown = capsys.readouterr().out
    assert "2/3" in shown
    assert "not yet: gateway-1" in shown
    assert tiers.history(target, Format.json, None) == DONE


def test_rotate_and_back(target: Local, tmp_path: Path) -> None:
    """What rollback writes gives the very document that was in force before."""
    path = Path(target.instance.manifest)
    before = tiers_spec(load_manifest(MANIFEST.encode()).spec)
    past = document(1, before)
    entry = TierHistory(revision=1, hash=past.hash, at="2026-11-24T10:00:00Z", outcome="Superseded")
    assert tiers.rotate(target, tmp_path / "tiers.yaml", None, canary=None, audit=False, within_s=0.01) == WAIT_RAN_OUT
    changed = tiers_spec(load_manifest(path.read_bytes()).spec)
    assert changed != before
    folder = tiers_file(target.instance.state, "shop").parent
    store(folder, Record(active=document(2, changed), history=((entry, past),)))
    assert tiers.rollback(target, None, within_s=None) == DONE
    assert tiers_spec(load_manifest(path.read_bytes()).spec) == before


def test_nothing_to_go_back_to(target: Local) -> None:
    """Without a history: 3."""
    with pytest.raises(CliError, match="go back") as failed:
        tiers.rollback(target, None, within_s=None)
    assert failed.value.exit_code == NOT_FOUND


@pytest.mark.parametrize("text", ["definitions: []", "[", "colour: red", yaml.safe_dump(NEW).replace("500", "1")])
def test_what_is_no_tiers_is_refused(target: Local, tmp_path: Path, text: str) -> None:
    """4, and the manifest stays."""
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(CliError, match=r"no members of spec\.tiers") as failed:
        tiers.rotate(target, tmp_path / "bad.yaml", None, canary=None, audit=False, within_s=None)
    assert (failed.value.exit_code, Path(target.instance.manifest).read_text()) == (REFUSED, MANIFEST)


def test_a_canary_and_an_audit(target: Local, tmp_path: Path) -> None:
    """The flags add to the file's own rotation: so many gateways first, or counted only."""
    text = yaml.safe_dump({**NEW, "rotation": {"ackTimeout": "5s", "canary": {"hold": "30s"}}})
    (tmp_path / "own.yaml").write_text(text)
    tiers.rotate(target, tmp_path / "own.yaml", None, canary=tiers.percent("20%"), audit=True, within_s=None)
    spec = load_manifest(Path(target.instance.manifest).read_bytes()).spec.tiers
    assert (spec.rotation.strategy, spec.rotation.ack_timeout, spec.enforcement) == ("Canary", "5s", "Audit")
    assert spec.rotation.canary is not None
    assert (spec.rotation.canary.pods_percent, spec.rotation.canary.hold) == (20, "30s")


def test_a_canary_ends_the_wait_for_a_moment() -> None:
    """`at` stands with Scheduled alone."""
    body = tiers.rolled_out(
        {"rotation": {"strategy": "Scheduled", "at": "2030-01-01T00:00:00Z"}}, canary=5, audit=False
    )
    assert body == {"rotation": {"strategy": "Canary", "canary": {"podsPercent": 5}}}
    assert tiers.rolled_out(["no mapping"], canary=5, audit=True) == ["no mapping"]


@pytest.mark.parametrize("text", ["", "0", "51%", "ten", "-5%"])
def test_no_share(text: str) -> None:
    """2, with what is expected."""
    with pytest.raises(CliError, match="--canary") as failed:
        tiers.percent(text)
    assert (failed.value.exit_code, "1% to 50%" in failed.value.why) == (USAGE, True)
