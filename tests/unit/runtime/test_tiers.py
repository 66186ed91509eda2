from __future__ import annotations

from pathlib import Path

from services.runtime.tiers import Ack, Refused, TiersHolder
from services.schema.tiers import BUILT_IN, document, render
from tests.harness.wait import eventually


def revision(number: int, default: str = "free") -> bytes:
    return render(document(number, BUILT_IN.spec.model_copy(update={"default_tier": default})))


def test_a_newer_document_is_taken_and_acknowledged():
    """Everybody who asked hears of it; the same one again is no change."""
    holder = TiersHolder(None)
    heard: list[int] = []
    holder.on_change.append(lambda taken: heard.append(taken.revision))
    ack = holder.push(revision(1))
    assert isinstance(ack, Ack)
    assert ack == holder.ack
    assert holder.push(revision(1)) == ack
    assert heard == [1]


def test_older_or_different_ones_are_stale():
    """A lower revision, or the same one with another hash, is refused and changes nothing."""
    holder = TiersHolder(None)
    holder.push(revision(2))
    for raw in (revision(1), revision(2, "pro")):
        refused = holder.push(raw)
        assert isinstance(refused, Refused)
        assert refused.stale
    assert holder.document.revision == 2
    assert holder.document.spec.default_tier == "free"


def test_wrong_ones_name_their_errors():
    """A broken document, one too large, or one a component cannot do: the last good one stays."""
    holder = TiersHolder(None)
    for raw in (b"{", b"x: 1", b"a" * 70_000):
        refused = holder.push(raw)
        assert isinstance(refused, Refused)
        assert refused.errors
        assert not refused.stale
    holder.checks.append(lambda _document: ["algorithm log is not enforced by this version"])
    assert holder.push(revision(3)) == Refused(("algorithm log is not enforced by this version",))
    assert holder.document is BUILT_IN


async def test_the_file_is_watched(tmp_path: Path):
    """A replaced file is in force within a second; a bad one leaves a note and the last good document."""
    file = tmp_path / "tiers.yaml"
    file.write_bytes(revision(1))
    holder = TiersHolder(file)
    holder.start()
    assert holder.document.revision == 1
    aside = tmp_path / "new"
    aside.write_bytes(revision(2))
    aside.replace(file)
    await eventually(lambda: holder.document.revision == 2, 2, "the new document is in force")
    file.write_text("rubbish: [")
    await eventually(lambda: holder.note, 2, "the bad file is noted")
    assert holder.document.revision == 2
    file.write_bytes(revision(3))
    await eventually(lambda: not holder.note and holder.document.revision == 3, 2, "a good file clears the note")
    await holder.stop()


async def test_a_missing_file_leaves_the_built_in_document(tmp_path: Path):
    """At start without its file a process runs on the built-in document and says so."""
    holder = TiersHolder(tmp_path / "none.yaml")
    holder.start()
    assert holder.document is BUILT_IN
    assert "none.yaml" in holder.note
    await holder.stop()


async def test_a_pushed_document_wins_over_an_older_file(tmp_path: Path):
    """The file may lag behind the push (a mounted ConfigMap does): no note, nothing goes back."""
    file = tmp_path / "tiers.yaml"
    file.write_bytes(revision(1))
    holder = TiersHolder(file)
    holder.push(revision(2))
    holder.start()
    assert holder.document.revision == 2
    assert holder.note == ""
    await holder.stop()
