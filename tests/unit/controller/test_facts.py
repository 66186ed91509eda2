"""What the status shows of the past starts empty."""

from __future__ import annotations

from services.controller.facts import History


def test_a_new_history_is_empty_and_its_own():
    """Two objects never share one."""
    first, second = History(), History()
    first.shown_ms["api"] = 1
    assert second == History()
