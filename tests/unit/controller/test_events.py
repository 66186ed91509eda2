"""Five at once, then one per half minute, and how many were held back."""

from __future__ import annotations

from services.controller import events
from services.controller.backend import Event
from services.controller.events import EventFilter

EVENT = Event("Normal", "ScaledUp", "api 2→3", "api")


def test_burst_refill_and_count():
    """The sixth waits; half a minute later one passes and tells of those held back; then it is quiet again."""
    bucket = EventFilter()
    assert [bucket.admit(0, "u", EVENT) for _ in range(7)] == [EVENT] * 5 + [None] * 2
    later = bucket.admit(30_000, "u", EVENT)
    assert later is not None
    assert later.message == "api 2→3 (+2 suppressed)"
    assert bucket.admit(30_001, "u", EVENT) is None


def test_objects_reasons_and_subjects_are_apart():
    """One noisy circuit does not silence another."""
    bucket = EventFilter()
    for _ in range(6):
        bucket.admit(0, "u", EVENT)
    for other in (Event("Normal", "ScaledUp", "x", "gateway"), Event("Normal", "ScaledDown", "x", "api")):
        assert bucket.admit(0, "u", other) == other
    assert bucket.admit(0, "v", EVENT) == EVENT


def test_buckets_are_bounded(monkeypatch):
    """Names come from outside: the oldest make room."""
    monkeypatch.setattr(events, "MAX_BUCKETS", 3)
    bucket = EventFilter()
    for number in range(9):
        bucket.admit(0, "u", Event("Normal", "CircuitOpened", "x", str(number)))
    assert len(bucket._buckets) == 3
