"""Which override is a caller's: `key:` before `user:` of the owner, before `ip:` exact, before the longest `ip:`
prefix.

The gateway holds all rows (at most 10 000) and builds this table anew each time it has read them, so a look-up is a
dictionary access; only prefixes are walked, once per address.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final, Protocol

from services.core.identity import network_identifier
from services.gateway.limiter.policies import Override

ADDRESSES_KEPT: Final = 10_000
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Row(Protocol):
    """An override as the store gives it."""

    @property
    def identifier(self) -> str: ...
    @property
    def requests_per_minute(self) -> int: ...
    @property
    def burst_limit(self) -> int | None: ...
    @property
    def mode(self) -> str: ...
    @property
    def seconds_left(self) -> float | None: ...


class Overrides:
    """`now` is the loop's clock."""

    def __init__(self, rows: Iterable[Row] = (), now: float = 0.0) -> None:
        self._exact: dict[str, Override] = {}
        prefixes: list[tuple[Network, Override]] = []
        for row in rows:
            if row.mode == "off":
                continue
            until = float("inf") if row.seconds_left is None else now + row.seconds_left
            enforced = row.mode == "enforce"
            override = Override(row.identifier, row.requests_per_minute, row.burst_limit, enforced, until)
            network = _prefix(row.identifier)
            if network is None:
                self._exact[row.identifier] = override
            else:
                prefixes.append((network, override))
        self._prefixes = sorted(prefixes, key=lambda pair: -pair[0].prefixlen)
        self._by_address: dict[str, tuple[Override, ...]] = {}
        self.by_network = bool(prefixes) or any(name.startswith("ip:") for name in self._exact)

    def find(self, identifier: str, owner: str, client: str, now: float) -> Override | None:
        """The first hit that has not expired; `owner` is `user:<uuid>` of a key's owner, or empty."""
        for name in (identifier, owner):
            found = self._exact.get(name)
            if found is not None and now < found.until:
                return found
        if not self.by_network:
            return None
        return next((found for found in self._networks(client) if now < found.until), None)

    def _networks(self, client: str) -> tuple[Override, ...]:
        found = self._by_address.get(client)
        if found is None:
            if len(self._by_address) >= ADDRESSES_KEPT:
                self._by_address.clear()
            found = self._by_address[client] = tuple(self._walk(client))
        return found

    def _walk(self, client: str) -> Iterable[Override]:
        for name in dict.fromkeys((f"ip:{client}", network_identifier(client))):
            if name in self._exact:
                yield self._exact[name]
        try:
            address = ipaddress.ip_address(client)
        except ValueError:
            return
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        for network, override in self._prefixes:
            if network.version == address.version and address in network:
                yield override


def _prefix(identifier: str) -> Network | None:
    """The network of `ip:<address>/<length>`; None for anything else, and for an IPv6 /64, which is an identifier
    itself.
    """
    kind, _, text = identifier.partition(":")
    if kind != "ip" or "/" not in text:
        return None
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
    return None if network.version == 6 and network.prefixlen == 64 else network
