from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.identity import Claims, csrf_token, network_identifier, sign, unverified, verify

SECRET, OTHER = b"s" * 32, b"o" * 32
CLAIMS = Claims("7f3c", "0123456789", "", "key", "user", "free", ("read", "write"), 1000)
texts = st.text(max_size=20)


@given(
    st.builds(
        Claims, texts, texts, texts, texts, texts, texts, st.lists(texts, max_size=4).map(tuple), st.integers(0, 2**40)
    )
)
def test_what_is_signed_verifies(claims: Claims) -> None:
    """The claims come back whole, under any of the secrets, until exp + 30 s."""
    value = sign(claims, SECRET)
    assert verify(value, [OTHER, SECRET], claims.exp + 30) == claims
    assert verify(value, [SECRET], claims.exp + 31) is None
    assert verify(value, [OTHER], claims.exp) is None


@given(st.integers(0, 300), st.integers(1, 255))
def test_a_changed_byte_is_refused(at: int, change: int) -> None:
    """Whatever byte is changed, nothing is believed."""
    value = bytearray(sign(CLAIMS, SECRET))
    value[at % len(value)] ^= change
    assert verify(bytes(value), [SECRET], 0) in (None, CLAIMS)  # padding bits of base64's last digit carry nothing
    if verify(bytes(value), [SECRET], 0) == CLAIMS:
        assert at % len(value) == len(value) - 1


@pytest.mark.parametrize("value", [b"", b"v1", b"v1.!!.x", b"v1.e30.x", b"v1.W10.x"])
def test_claims_without_a_signature(value: bytes) -> None:
    """Read as they stand, whoever signed them; what is no header is nobody."""
    assert unverified(sign(CLAIMS, OTHER)) == CLAIMS
    assert unverified(value) is None


def forged(body: bytes, version: bytes = b"v1") -> bytes:
    signed = version + b"." + base64.urlsafe_b64encode(body).rstrip(b"=")
    mac = base64.urlsafe_b64encode(hmac.new(SECRET, signed, hashlib.sha256).digest()).rstrip(b"=")
    return signed + b"." + mac


GOOD = {"sub": "a", "kid": "", "sid": "", "via": "key", "role": "user", "tier": "free", "scp": [], "exp": 10}


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"v1",
        b"v1.x",
        b"v1.x.!!",
        forged(b"not json"),
        forged(b"[]"),
        forged(json.dumps({**GOOD, "exp": "10"}).encode()),
        forged(json.dumps({**GOOD, "scp": "read"}).encode()),
        forged(json.dumps({**GOOD, "scp": [1]}).encode()),
        forged(json.dumps({**GOOD, "sub": 1}).encode()),
        forged(json.dumps({"sub": "a"}).encode()),
        forged(json.dumps(GOOD).encode(), b"v2"),
    ],
)
def test_rubbish_is_nobody(value: bytes) -> None:
    """Malformed, unsigned, of another version or with claims of a wrong type: None, never an exception."""
    assert verify(value, [SECRET], 0) is None


def test_csrf_token_is_bound_to_the_session() -> None:
    """128 bits, one per session and secret."""
    assert len(base64.urlsafe_b64decode(csrf_token(SECRET, "a") + "==")) == 16
    assert len({csrf_token(SECRET, "a"), csrf_token(SECRET, "b"), csrf_token(OTHER, "a")}) == 3


@pytest.mark.parametrize(
    ("address", "identifier"),
    [
        ("192.0.2.7", "ip:192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "ip:2001:db8:1:2::/64"),
        ("2001:0db8:0001:0002::", "ip:2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "ip:192.0.2.7"),
        ("fe80::1%eth0", "ip:fe80::/64"),
        ("unix", "ip:unix"),
    ],
)
def test_networks(address: str, identifier: str) -> None:
    """IPv4 by address, IPv6 by /64, a mapped IPv4 as what it is."""
    assert network_identifier(address) == identifier
