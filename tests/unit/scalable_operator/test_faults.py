"""FAULT_AT: which write ends the process."""

from __future__ import annotations

import pytest

from scalable_operator.faults import fault


@pytest.mark.parametrize(("text", "begun", "done"), [("before:2", 2, 1), ("after:2", 2, 2)])
def test_the_kth_write_dies(text: str, begun: int, done: int) -> None:
    """Before the second write, or once it was answered."""
    died = []
    hook = fault(text)
    hook.die = lambda: died.append((hook.begun, hook.done))
    for _ in range(3):
        hook.before()
        hook.after()
    assert died == [(begun, done)]


def test_none_never_dies() -> None:
    """Unset, it counts and does nothing."""
    hook = fault("")
    hook.die = lambda: pytest.fail("died")
    hook.before()
    hook.after()
    assert (hook.begun, hook.done) == (1, 1)


@pytest.mark.parametrize("text", ["during:1", "before:0", "before", "after:x"])
def test_anything_else_is_refused(text: str) -> None:
    """With the rule."""
    with pytest.raises(ValueError, match="before:k or after:k"):
        fault(text)
