"""L1: the entries this process holds, least recently used out first, bounded by items and by bytes.

Small and short-lived on purpose: it only takes repeated reads within a few seconds off Redis, so an entry is never
older here than its 5 s ± 10 %. Swept each second, so what expires goes without being read. Pure of I/O: `now` is an
argument.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from services.core.cache import Entry

MAX_ENTRY_BYTES: Final = 65_536  # larger bodies would push out hundreds of small ones
OVERHEAD_BYTES: Final = 200  # of the dictionary slot, the objects and the record


@dataclass(frozen=True, slots=True)
class _Held:
    namespace: str
    entry: Entry
    until: float
    size: int


class Local:
    def __init__(self, max_items: int, max_bytes: int, ttl_s: float) -> None:
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._ttl_s = ttl_s
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: str, now: float) -> Entry | None:
        held = self._held.get(key)
        if held is None:
            return None
        if now >= held.until:
            self.drop(key)
            return None
        self._held.move_to_end(key)
        return held.entry

    def put(self, namespace: str, key: str, entry: Entry, now: float, draw: float) -> bool:
        """`draw` in [0, 1) spreads the lifetime by ± 10 %, so that equal fills do not end together. True if it was
        kept.
        """
        self.drop(key)
        size = len(entry.body) + len(key) + OVERHEAD_BYTES
        if len(entry.body) > MAX_ENTRY_BYTES or size > self._max_bytes or self._max_items < 1:
            return False
        until = min(now + self._ttl_s * (0.9 + 0.2 * draw), entry.stale_until)
        self._held[key] = _Held(namespace, entry, until, size)
        self.bytes += size
        while len(self._held) > self._max_items or self.bytes > self._max_bytes:
            _, oldest = self._held.popitem(last=False)
            self.bytes -= oldest.size
        return True

    def drop(self, key: str) -> bool:
        held = self._held.pop(key, None)
        if held is None:
            return False
        self.bytes -= held.size
        return True

    def drop_namespace(self, namespace: str) -> int:
        return self._drop_all([k for k, held in self._held.items() if held.namespace == namespace])

    def sweep(self, now: float) -> int:
        """Removes what has expired; the number removed."""
        return self._drop_all([k for k, held in self._held.items() if now >= held.until])

    def entries(self) -> dict[str, int]:
        """Entries held by namespace."""
        counts: dict[str, int] = {}
        for held in self._held.values():
            counts[held.namespace] = counts.get(held.namespace, 0) + 1
        return counts

    def _drop_all(self, keys: list[str]) -> int:
        for key in keys:
            self.drop(key)
        return len(keys)
