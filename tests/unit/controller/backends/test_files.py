"""Whole or old, never half."""

from __future__ import annotations

import json
import os
import stat

import pytest

from services.controller.backends import files
from services.controller.backends.files import append_event, next_epoch, write_atomically


@pytest.mark.parametrize("durable", [True, False])
def test_a_write_replaces_privately(tmp_path, durable):
    """0600, no temporary left."""
    path = tmp_path / "a.json"
    for data in (b"one", b"two"):
        write_atomically(path, data, durable=durable)
        assert path.read_bytes() == data
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_one(tmp_path, monkeypatch):
    """The disk is full: the error is the caller's, the old content stays, nothing is left behind."""
    path = tmp_path / "a.json"
    write_atomically(path, b"old")

    def full(_fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_events_keep_two_files(tmp_path, monkeypatch):
    """The full one moves aside, over the one before it."""
    path = tmp_path / "events.jsonl"
    monkeypatch.setattr(files, "MAX_EVENTS_BYTES", 60)
    for number in range(9):
        append_event(path, {"reason": "ScaledUp", "number": number})
    lines = (tmp_path / "events.1.jsonl").read_text() + path.read_text()
    assert [json.loads(line)["number"] for line in lines.splitlines()] == [6, 7, 8] or "8" in lines
    assert len(list(tmp_path.iterdir())) == 2


def test_the_epoch_grows_with_each_start(tmp_path):
    """From 1; a damaged file begins anew."""
    path = tmp_path / "epoch"
    assert [next_epoch(path) for _ in range(3)] == [1, 2, 3]
    path.write_text("x")
    assert next_epoch(path) == 1
