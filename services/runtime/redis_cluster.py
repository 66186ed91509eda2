"""Redis Cluster as the data path's connection needs it: which slot a command's key is in, what a redirect says, who
has which slot.

Keys of one caller share a hash tag, so every script call is inside one slot (Redis Cluster specification: CRC-16
XMODEM modulo 16 384). Pure; called by redis_batch.py, which owns a connection per node.
"""

from __future__ import annotations

from binascii import crc_hqx
from typing import Any, Final, Generic, NamedTuple, TypeVar

SLOTS: Final = 16_384
NODES_MAX: Final = 1000  # the cluster specification's own bound

Node = TypeVar("Node")
Address = tuple[str, int]


class Redirect(NamedTuple):
    """`asking`: for this command alone; else the slot has moved. An empty host: the same as the one that says so."""

    asking: bool
    slot: int
    address: Address


def slot_of(data: bytes) -> int:
    """Of a command in RESP: EVALSHA's first key, else the first argument."""
    parts = data.split(b"\r\n", 9)
    key = parts[8] if parts[2] == b"EVALSHA" else parts[4]
    begin = key.find(b"{")
    end = key.find(b"}", begin + 1)
    if begin >= 0 and begin + 1 < end:
        key = key[begin + 1 : end]
    return crc_hqx(key, 0) % SLOTS


def redirect_of(error: str) -> Redirect | None:
    """`MOVED 3999 127.0.0.1:6381`, `ASK …`; None for any other error, and for one that names no place."""
    kind, _, rest = error.partition(" ")
    slot, _, place = rest.partition(" ")
    host, colon, port = place.rpartition(":")
    if kind not in {"MOVED", "ASK"} or not colon or not slot.isdecimal() or not port.isdecimal():
        return None
    if int(slot) >= SLOTS or not 0 < int(port) < 65_536:
        return None
    return Redirect(kind == "ASK", int(slot), (host, int(port)))


def ranges_of(reply: Any, host: str) -> list[tuple[int, int, Address]] | None:
    """CLUSTER SLOTS: first, last, primary. None for another shape. `host`: of the node that says so."""
    found = []
    try:
        for first, last, (name, port, *_), *_ in reply:
            if not 0 <= first <= last < SLOTS or not 0 < port < 65_536:
                return None
            found.append((first, last, (name.decode() if name else host, port)))
    except (TypeError, ValueError, AttributeError):
        return None
    return found if len(found) <= SLOTS else None


class SlotMap(Generic[Node]):
    """Who has which slot; None: nobody has said."""

    def __init__(self) -> None:
        self.nodes: dict[Address, Node] = {}
        self._slots: list[Node | None] = [None] * SLOTS

    def node(self, data: bytes) -> Node | None:
        return self._slots[slot_of(data)]

    def give(self, first: int, last: int, node: Node) -> None:
        self._slots[first : last + 1] = [node] * (last + 1 - first)

    def unused(self) -> list[Node]:
        """Nodes that have no slot any more; they are forgotten here."""
        used = {id(node) for node in self._slots}
        gone = [address for address, node in self.nodes.items() if id(node) not in used]
        return [self.nodes.pop(address) for address in gone]
