"""Headers of the PROXY protocol: read to the byte, or not at all."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.http1.proxy_protocol import SIGNATURE, V2_MAX, ProxyHeaderError, length, source

ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))
PORTS = st.integers(0, 65535)


def v1(address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> bytes:
    return f"PROXY TCP{address.version} {address} {address} {port} 443\r\n".encode()


def v2(family: int, body: bytes, command: int = 0x21, size: int | None = None) -> bytes:
    return SIGNATURE + bytes((command, family)) + (len(body) if size is None else size).to_bytes(2, "big") + body


@given(ADDRESSES, PORTS)
def test_both_versions_name_the_source(address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> None:
    """Version 1 and 2 say the same; TLVs behind the addresses are skipped."""
    packed = address.packed * 2 + port.to_bytes(2, "big") + b"\x01\xbb"
    family = 0x11 if address.version == 4 else 0x21
    for header in (v1(address, port), v2(family, packed), v2(family, packed + b"\x04\x00\x02hi")):
        assert length(header) == len(header)
        assert source(header) == (str(address), port)


@pytest.mark.parametrize("header", [v1(ipaddress.ip_address("203.0.113.9"), 5), v2(0x11, b"x" * 20)])
def test_where_it_ends(header: bytes) -> None:
    """What follows is never taken; until the end is known every byte so far is the header's."""
    for at in range(1, len(header) + 1):
        known = length(header[:at])
        assert known in {0, len(header)}
    assert length(header + b"GET / HTTP/1.1\r\n") == len(header)


@pytest.mark.parametrize(
    "header",
    [
        b"PROXY UNKNOWN\r\n",
        b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n",
        v2(0x11, b"", command=0x20),
        v2(0x11, b"x" * 12, command=0x20),
        v2(0x00, b""),
        v2(0x31, b"/" * 216),
    ],
    ids=["unknown", "unknown and more", "local", "local with addresses", "unspecified", "unix"],
)
def test_who_names_nobody(header: bytes) -> None:
    """The proxy's own connections and unknown families keep the peer."""
    assert length(header) == len(header)
    assert source(header) is None


@pytest.mark.parametrize(
    "line",
    [
        b"PROXY TCP4 203.0.113.9 192.0.2.1 5 443\n",
        b"PROXY TCP4 203.0.113.9 192.0.2.1 5 443\r\r\n",
        b"PROXY TCP4 203.0.113.9 192.0.2.1 5\r\n",
        b"PROXY TCP4 203.0.113.9 192.0.2.1 5 443 6\r\n",
        b"PROXY TCP4  203.0.113.9 192.0.2.1 5 443\r\n",
        b"PROXY TCP6 203.0.113.9 192.0.2.1 5 443\r\n",
        b"PROXY TCP4 2001:db8::1 2001:db8::2 5 443\r\n",
        b"PROXY TCP6 fe80::1%lo fe80::2 5 443\r\n",
        b"PROXY TCP4 203.0.113.09 192.0.2.1 5 443\r\n",
        b"PROXY TCP4 localhost 192.0.2.1 5 443\r\n",
        b"PROXY TCP4 203.0.113.9 192.0.2.1 65536 443\r\n",
        b"PROXY TCP4 203.0.113.9 192.0.2.1 05 443\r\n",
        b"PROXY TCP4 203.0.113.9 192.0.2.1 -5 443\r\n",
        b"PROXY TCP4 203.0.113.9 192.0.2.1 5 443x\r\n",
        b"PROXY UDP4 203.0.113.9 192.0.2.1 5 443\r\n",
        b"PROXY tcp4 203.0.113.9 192.0.2.1 5 443\r\n",
        b"PROXY \r\n",
    ],
)
def test_malformed_lines(line: bytes) -> None:
    """One spelling, six words, nothing else."""
    assert length(line) == len(line)
    with pytest.raises(ProxyHeaderError):
        source(line)


@pytest.mark.parametrize(
    "header",
    [
        v2(0x11, b"x" * 11),
        v2(0x21, b"x" * 12),
        v2(0x31, b"x" * 12),
        v2(0x12, b"x" * 12),
        v2(0x41, b"x" * 300),
        v2(0x11, b"x" * 12, command=0x22),
        v2(0x11, b"x" * 12, command=0x11),
    ],
    ids=["short", "short v6", "short unix", "datagram", "family", "command", "version"],
)
def test_malformed_version_2(header: bytes) -> None:
    """Version 2, LOCAL or PROXY, a family of streams with all its bytes."""
    with pytest.raises(ProxyHeaderError):
        source(header)


@pytest.mark.parametrize(
    "start",
    [
        b"G",
        b"GET / HTTP/1.1\r\n",
        b"\x16\x03\x01",
        b"PROXI",
        b"\r\n\r\n\x00\r\nQUIX",
        b"\r\n\r\nGET",
        b"PROXY TCP4 " + b"1" * 96,
        b"PROXY TCP4 " + b"1" * 96 + b"\r\n",
        v2(0x11, b"", size=V2_MAX),
    ],
)
def test_what_is_no_header_is_known_at_once(start: bytes) -> None:
    """As soon as a byte does not fit, or it would be too long."""
    with pytest.raises(ProxyHeaderError):
        length(start)


@given(st.binary(max_size=300), st.sampled_from([b"", b"PROXY ", SIGNATURE, SIGNATURE + b"\x21\x11"]))
def test_rubbish_is_refused_or_read(rest: bytes, start: bytes) -> None:
    """Nothing but a ProxyHeaderError comes of any bytes."""
    data = start + rest
    try:
        whole = length(data)
        if 0 < whole <= len(data):
            source(data[:whole])
    except ProxyHeaderError:
        return
