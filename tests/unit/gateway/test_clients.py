from __future__ import annotations

import ipaddress

import pytest

from services.gateway.clients import KEPT, Clients, kept_lines, peer_of
from tests.unit.gateway.doubles import exchange

TRUSTED = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("2001:db8:f::/48"))


def resolve(peer: str, forwarded: bytes | None = None):
    special = {} if forwarded is None else {b"x-forwarded-for": forwarded}
    return Clients(TRUSTED).named(peer, special)


def test_old_fault_5a_an_untrusted_peer_cannot_name_itself():
    """Whatever X-Forwarded-For it sends, its own address counts, and the field is begun anew."""
    client = resolve("203.0.113.9", b"1.2.3.4")
    assert client.address == "203.0.113.9"
    lines = b"X-Client-IP: 203.0.113.9\r\nX-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: http\r\n"
    assert client.lines == lines
    assert not client.trusted


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        (b"198.51.100.1", "198.51.100.1"),
        (b"6.6.6.6, 198.51.100.1", "198.51.100.1"),
        (b"198.51.100.1, 10.0.0.2", "198.51.100.1"),
        (b"10.0.0.3, 10.0.0.2", "10.0.0.3"),
        (b"junk, 10.0.0.2", "10.0.0.2"),
        (b"198.51.100.1, junk", "10.0.0.1"),
        (b"198.51.100.1:5000", "198.51.100.1"),
        (b"[2001:db8::1]:443", "2001:db8::1"),
        (b"2001:db8::1", "2001:db8::1"),
        (b"", "10.0.0.1"),
    ],
)
def test_old_fault_5b_behind_a_trusted_proxy(forwarded, address):
    """The rightmost entry outside the trusted networks counts; rubbish ends the search; the peer is appended."""
    client = resolve("10.0.0.1", forwarded)
    assert client.address == address
    assert client.trusted
    assert client.lines.endswith(b"10.0.0.1\r\n")
    assert b"junk" not in client.lines


def test_ipv6_peers():
    """Trusted networks are compared by version, mapped IPv4 as IPv4."""
    assert resolve("2001:db8:f::1", b"198.51.100.1").address == "198.51.100.1"
    assert resolve("::ffff:10.0.0.1", b"198.51.100.1").address == "198.51.100.1"
    assert resolve("not-an-address").address == "not-an-address"


def test_other_forwarded_fields_of_a_trusted_peer_stay():
    """Proto only if it is one; host and Forwarded as they came."""
    special = {b"x-forwarded-proto": b"https", b"x-forwarded-host": b"a.example", b"forwarded": b"for=1.2.3.4"}
    assert kept_lines(special) == [
        b"X-Forwarded-Proto: https\r\n",
        b"X-Forwarded-Host: a.example\r\n",
        b"Forwarded: for=1.2.3.4\r\n",
    ]
    assert kept_lines({b"x-forwarded-proto": b"gopher"}) == [b"X-Forwarded-Proto: http\r\n"]


def test_results_are_remembered_within_bounds():
    """The same peer gives the same object; many peers do not grow the memo for ever."""
    clients = Clients(())
    one = clients.named("192.0.2.1", {b"x-forwarded-for": b"ignored"})
    assert clients.named("192.0.2.1", {}) is one
    for number in range(KEPT + 5):
        clients.named(f"peer-{number}", {})
    assert len(clients._kept) <= KEPT


def test_the_peer_of_a_unix_socket():
    """It is this machine."""
    x = exchange(peer="192.0.2.1")
    assert peer_of(x) == "192.0.2.1"
    x.connection.peer = ""
    assert peer_of(x) == "127.0.0.1"


def test_a_connection_is_resolved_once_unless_it_speaks_for_others():
    """A peer that is not trusted is the client of all its requests; a trusted one may bring another with each."""
    clients = Clients(TRUSTED)
    x = exchange(peer="192.0.2.1", x_forwarded_for=b"198.51.100.1")
    first = clients.of(x)
    assert clients.of(x) is first is x.connection.memo
    proxied = exchange(peer="10.0.0.1", x_forwarded_for=b"198.51.100.1")
    assert clients.of(proxied).address == "198.51.100.1"
    proxied.special[b"x-forwarded-for"] = b"198.51.100.2"
    assert clients.of(proxied).address == "198.51.100.2"


def test_a_listener_with_tls_says_so():
    """What an untrusted client spoke is what its listener speaks."""
    lines = Clients((), "https").named("192.0.2.7", {}).lines
    assert lines.endswith(b"X-Forwarded-Proto: https\r\n")
