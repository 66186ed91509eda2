from __future__ import annotations

from services.core.identity import verify
from services.gateway.identity import HEADER, Identity, Lru
from tests.unit.gateway.doubles import identity

SECRET = bytes(range(32))


def test_the_header_is_signed_once_per_half_minute():
    """Good for 30 s, then due with a new expiry; what is signed verifies and says who it is."""
    who = identity()
    assert who.signed_until == 0
    who.sign(100.0, 1000.0, SECRET)
    first = who.header
    assert who.signed_until == 130.0
    who.sign(130.0, 1030.0, SECRET)
    second = who.header
    assert second != first
    claims = verify(second.removeprefix(HEADER).rstrip(), (SECRET,), 1030.0)
    assert claims is not None
    assert (claims.exp, claims.kid, claims.tier) == (1090, "0123456789", "pro")
    assert second.endswith(b"\r\n")


def test_anonymous_has_no_header():
    """Absent means anonymous to the api."""
    nobody = Identity("ip:192.0.2.7", "anonymous", "anonymous")
    nobody.sign(1, 1, SECRET)
    assert nobody.header == b""
    assert nobody.anonymous
    assert not nobody.views
    assert nobody.owner == ""


def test_who_may_see_operators_views():
    """A viewer or admin with the scope; neither a user with the scope nor an admin's key without it."""
    assert identity("viewer", ("admin:read",)).views
    assert identity("admin", ("admin:write",)).views
    assert not identity("user", ("admin:read",)).views
    assert not identity("admin", ("read",)).views


def test_lru_forgets_the_longest_unused():
    """Reading keeps an entry."""
    kept: Lru[int] = Lru(2)
    kept.put(b"a", 1)
    kept.put(b"b", 2)
    assert kept.get(b"a") == 1
    kept.put(b"c", 3)
    assert (kept.get(b"b"), kept.get(b"a"), len(kept)) == (None, 1, 2)
    assert kept.pop(b"a") == 1
    assert dict(kept.items()) == {b"c": 3}
    assert kept.values() == [3]
    kept.clear()
    assert len(kept) == 0
