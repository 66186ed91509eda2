"""Sets by key. Caller: store."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Index(Generic[K, V]):
    """Sets by key; an empty one takes no room."""

    __slots__ = ("_sets",)

    def __init__(self) -> None:
        self._sets: dict[K, set[V]] = {}

    def add(self, key: K, value: V) -> None:
        self._sets.setdefault(key, set()).add(value)

    def drop(self, key: K, value: V) -> None:
        found = self._sets.get(key, set())
        found.discard(value)
        if not found:
            self._sets.pop(key, None)

    def of(self, key: K) -> AbstractSet[V]:
        return self._sets.get(key, frozenset())

    def keys(self) -> AbstractSet[K]:
        return self._sets.keys()

    def count(self, key: K) -> int:
        return len(self.of(key))
