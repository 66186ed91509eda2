"""Sets by key."""

from __future__ import annotations

from scalable_operator.index import Index


def test_an_emptied_set_takes_no_room() -> None:
    """What was never there may be dropped."""
    index: Index[str, int] = Index()
    index.add("a", 1)
    index.add("a", 2)
    assert (index.of("a"), index.count("b")) == ({1, 2}, 0)
    for number in (1, 2, 3):
        index.drop("a", number)
    assert index.keys() == set()
