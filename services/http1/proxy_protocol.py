"""The PROXY protocol's header, versions 1 and 2: what a TCP proxy in front of us says about whom it stands for.

Pure: bytes in, an address out. Read strictly, for the header decides who is limited and what is logged: one spelling
of each number, nothing left over, a bounded length. door.py reads it from sockets of trusted peers. HAProxy's
proxy-protocol.txt, sections 2.1 and 2.2.
"""

from __future__ import annotations

import ipaddress
from typing import Final

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
V1_START: Final = b"PROXY "
V1_MAX: Final = 107  # the longest there can be, CRLF included
V2_FIXED: Final = 16
V2_MAX: Final = 2048  # 232 of addresses, the rest TLVs that nobody here reads; proxies send a few dozen bytes of them
HEADER_MAX: Final = V2_MAX
LOCAL: Final = 0x20  # version 2, the proxy's own connection: a health check
PROXY: Final = 0x21
TCP4: Final = 0x11
TCP6: Final = 0x21
NAMELESS: Final = {0x00: 0, 0x31: 216}  # unspecified, Unix stream -> bytes of addresses: the peer stays who it is
ADDRESSES: Final = {TCP4: 12, TCP6: 36}

Address = tuple[str, int]


class ProxyHeaderError(Exception):
    """Not a header of the PROXY protocol: the connection is closed, for what follows it is anybody's guess."""


def length(start: bytes) -> int:
    """How long the header is whose first bytes these are, 0 while that cannot be told: then all of them are its own."""
    if start.startswith(SIGNATURE[: len(start)]):
        if len(start) < V2_FIXED:
            return 0
        size = V2_FIXED + int.from_bytes(start[14:16], "big")
        if size > V2_MAX:
            raise ProxyHeaderError(f"the header has {size} bytes, at most {V2_MAX} are read")
        return size
    if not start.startswith(V1_START[: len(start)]):
        raise ProxyHeaderError("it begins with no header")
    end = start.find(b"\n", 0, V1_MAX) + 1
    if not end and len(start) >= V1_MAX:
        raise ProxyHeaderError(f"the line has no end within {V1_MAX} bytes")
    return end


def source(header: bytes) -> Address | None:
    """Whom a whole header names; None: nobody, the connection speaks for its own peer."""
    return _v2(header) if header.startswith(SIGNATURE) else _v1(header)


def _v1(line: bytes) -> Address | None:
    if not line.endswith(b"\r\n") or line.count(b"\r") > 1:
        raise ProxyHeaderError("the line does not end with CRLF")
    words = line[:-2].split(b" ")
    if words[1] == b"UNKNOWN":
        return None
    version = {b"TCP4": 4, b"TCP6": 6}.get(words[1])
    if version is None or len(words) != 6:
        raise ProxyHeaderError("the line is not PROXY TCP4|TCP6 source destination port port")
    host, _ = (_address(word, version) for word in words[2:4])
    port, _ = (_port(word) for word in words[4:])
    return host, port


def _v2(header: bytes) -> Address | None:
    command, family, body = header[12], header[13], header[V2_FIXED:]
    if command not in {LOCAL, PROXY}:
        raise ProxyHeaderError(f"version and command are {command:#04x}, not 0x20 or 0x21")
    if command == LOCAL:
        return None
    size = ADDRESSES.get(family, NAMELESS.get(family))
    if size is None or len(body) < size:
        raise ProxyHeaderError(f"family {family:#04x} with {len(body)} bytes of addresses")
    if family not in ADDRESSES:
        return None
    width = (size - 4) // 2
    return str(ipaddress.ip_address(body[:width])), int.from_bytes(body[2 * width : 2 * width + 2], "big")


def _address(word: bytes, version: int) -> str:
    try:
        address = ipaddress.ip_address(word.decode("ascii"))
    except ValueError:
        raise ProxyHeaderError("an address is none") from None
    if address.version != version or b"%" in word:
        raise ProxyHeaderError("an address is of another family")
    return str(address)


def _port(word: bytes) -> int:
    if not word.isdigit() or len(word) > 5 or (word[0] == ord("0") and len(word) > 1) or int(word) > 65535:
        raise ProxyHeaderError("a port is none")
    return int(word)
