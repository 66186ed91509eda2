"""The rotation's record on disk: what is stored comes back, what is damaged is not believed."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from services.controller.backend import Record
from services.controller.backends.record import restore, store
from services.core.budget import Line
from services.schema.status import TierHistory
from services.schema.tiers import BUILT_IN, document

OLD, NEW = document(1, BUILT_IN.spec), document(2, BUILT_IN.spec)
ENTRY = TierHistory(revision=1, hash=OLD.hash, at="2026-11-24T10:00:02.000Z", outcome="Enforced")
RECORD = Record(NEW, "RolledBack", 5000, "sha256:" + "0" * 64, ((ENTRY, OLD),), "7")


def test_a_round_trip(tmp_path):
    """Phase, times, failed hash, history with its documents, the counter."""
    store(tmp_path / "shop-tiers", RECORD)
    assert restore(tmp_path / "shop-tiers") == RECORD


def test_a_canary_and_a_budget_come_back(tmp_path):
    """The candidate, who enforces it, the line; without its candidate a canary is a roll-out of what is active."""
    running = replace(RECORD, phase="Canary", candidate=document(3, BUILT_IN.spec), canaries=("u1",), retry="2")
    stored = replace(running, untested=True, budget=Line(1, 2, 3, 4))
    store(tmp_path, stored)
    assert restore(tmp_path) == stored
    (tmp_path / "candidate.yaml").unlink()
    found = restore(tmp_path)
    assert found is not None
    assert (found.phase, found.candidate) == ("RollingOut", None)


def test_nothing_stored_is_nothing(tmp_path):
    """No folder, no document, a damaged document: None."""
    assert restore(tmp_path) is None
    store(tmp_path, Record())
    assert restore(tmp_path) is None
    (tmp_path / "tiers.yaml").write_text("revision: x")
    assert restore(tmp_path) is None


@pytest.mark.parametrize("damage", ["", "[", "phase: Active\nrevision: 1\n"])
def test_a_phase_of_another_revision_is_still_rolling_out(tmp_path, damage):
    """A crash between the files: the document counts, and it is pushed again."""
    store(tmp_path, RECORD)
    (tmp_path / "rotation.yaml").write_text(damage)
    found = restore(tmp_path)
    assert found is not None
    assert (found.phase, found.active) == ("RollingOut", NEW)


def test_a_document_without_its_state_is_in_force_since_it_was_written(tmp_path):
    """A folder whose rotation.yaml is gone: the file's own time, not 1970."""
    store(tmp_path, RECORD)
    (tmp_path / "rotation.yaml").unlink()
    os.utime(tmp_path / "tiers.yaml", (1_700_000_000, 1_700_000_000))
    found = restore(tmp_path)
    assert found is not None
    assert found.since_ms == 1_700_000_000_000


def test_a_damaged_history_is_no_history(tmp_path):
    """It is for people and for rolling back; the document in force does not depend on it."""
    store(tmp_path, RECORD)
    for text in ("x", "[1]", "- {revision: 1}", "- {document: x}"):
        (tmp_path / "history.yaml").write_text(text)
        found = restore(tmp_path)
        assert found is not None
        assert found.history == ()
