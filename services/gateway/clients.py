"""Where a request really comes from, and what the next hop is told about it (contract.md 2.1).

Only a peer inside `TRUSTED_PROXIES` is believed: then the client is the rightmost X-Forwarded-For entry outside those
networks, and the forwarded fields are kept and added to. Anybody else's are discarded and begun anew, so a client
cannot name itself. Results are cached by peer (and its X-Forwarded-For): a keep-alive client costs a dictionary
look-up.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Final

from services.core.identity import network_identifier
from services.http1.exchange import Exchange
from services.runtime.settings import Network

KEPT: Final = 10_000
ENTRIES_MAX: Final = 100  # an X-Forwarded-For longer than this is somebody's joke


class Client:
    """An address as text, its network's identifier, whether its peer is trusted, and the forwarded lines that go on when it is not."""

    __slots__ = ("address", "lines", "network", "trusted")

    def __init__(self, address: str, *, trusted: bool, lines: bytes) -> None:
        self.address = address
        self.network = network_identifier(address)
        self.trusted = trusted
        self.lines = lines  # X-Client-IP, X-Forwarded-For, -Proto


class Clients:
    """`scheme`: what this gateway's own clients speak, http or https."""

    def __init__(self, trusted: tuple[Network, ...], scheme: str = "http") -> None:
        self._trusted = trusted
        self._scheme = scheme
        self._kept: dict[tuple[str, bytes], Client] = {}

    def of(self, x: Exchange) -> Client:
        """The request's client. One that speaks for itself is the same for all requests of its connection."""
        connection = x.connection
        client: Client | None = connection.memo
        if client is None:
            client = self.named(peer_of(x), x.special)
            if not client.trusted:
                connection.memo = client
        return client

    def named(self, peer: str, special: Mapping[bytes, bytes]) -> Client:
        """`peer` is the connection's remote address; `special` the request's special fields."""
        forwarded = special.get(b"x-forwarded-for", b"") if self._trusted else b""
        key = (peer, forwarded)
        client = self._kept.get(key)
        if client is None:
            client = self._resolve(peer, forwarded)
            if len(self._kept) >= KEPT:
                self._kept.clear()
            self._kept[key] = client
        return client

    def _resolve(self, peer: str, forwarded: bytes) -> Client:
        if not self.trusts(peer):
            return Client(peer, trusted=False, lines=_lines(peer, peer, self._scheme))
        entries = [_bare(entry) for entry in forwarded.decode("latin-1").split(",") if entry.strip()][-ENTRIES_MAX:]
        address = peer
        for entry in reversed(entries):
            if not _is_address(entry):
                break  # what stands left of rubbish is not to be believed either
            address = entry
            if not self.trusts(entry):
                break
        chain = ", ".join([*(entry for entry in entries if _is_address(entry)), peer])
        return Client(address, trusted=True, lines=_lines(address, chain, ""))

    def trusts(self, address: str) -> bool:
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:
            return False
        if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        return any(ip in network for network in self._trusted if network.version == ip.version)


def peer_of(x: Exchange) -> str:
    """The address of the socket's other end; a Unix socket's is this machine."""
    peer = x.connection.peer
    return str(peer[0]) if peer else "127.0.0.1"


def kept_lines(special: Mapping[bytes, bytes]) -> list[bytes]:
    """Of a trusted peer: the other forwarded fields as they came, X-Forwarded-Proto at least."""
    proto = special.get(b"x-forwarded-proto", b"http")
    lines = [b"X-Forwarded-Proto: " + (proto if proto in {b"http", b"https"} else b"http") + b"\r\n"]
    if host := special.get(b"x-forwarded-host"):
        lines.append(b"X-Forwarded-Host: " + host + b"\r\n")
    if forwarded := special.get(b"forwarded"):
        lines.append(b"Forwarded: " + forwarded + b"\r\n")
    return lines


def _lines(address: str, chain: str, proto: str) -> bytes:
    lines = f"X-Client-IP: {address}\r\nX-Forwarded-For: {chain}\r\n"
    return (lines + f"X-Forwarded-Proto: {proto}\r\n" if proto else lines).encode()


def _bare(entry: str) -> str:
    """`1.2.3.4:5678` and `[2001:db8::1]:443` are written by some proxies."""
    entry = entry.strip()
    if entry.startswith("["):
        return entry[1:].partition("]")[0]
    return entry.partition(":")[0] if entry.count(":") == 1 else entry


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text
