from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.credentials import KeyId, key_hash, make_key, make_session, parse_key, parse_session, session_id


@given(st.sampled_from(["live", "test"]), st.binary(min_size=10, max_size=10), st.binary(min_size=32, max_size=32))
def test_what_is_made_parses(env: str, id_draw: bytes, secret_draw: bytes) -> None:
    """A made key has 69 characters and its id comes back."""
    key = make_key(env, id_draw, secret_draw)
    assert len(key) == 69
    found = parse_key(key.encode())
    assert found is not None
    assert found.env == env
    assert key.startswith(found.prefix + "_")


@given(st.integers(0, 68), st.sampled_from(b"09azAZ_-"))
def test_one_wrong_character_is_refused(at: int, character: int) -> None:
    """The check digits catch any single change."""
    key = bytearray(make_key("live", b"\x01" * 10, b"\x02" * 32).encode())
    changed = key[at] != character
    key[at] = character
    assert (parse_key(bytes(key)) is None) == changed


@pytest.mark.parametrize("text", [b"", b"sk_live_", b"admin-token-dev", b"sk_prod_" + b"0" * 61, b"\xff" * 69])
def test_junk_is_no_key(text: bytes) -> None:
    """No look-up for what is no key."""
    assert parse_key(text) is None


def test_known_key() -> None:
    """The form is fixed for good: a stored key must parse in any later version."""
    assert make_key("live", bytes(10), bytes(32)) == "sk_live_0000000000_" + "0" * 43 + "_2ulPjy"
    assert parse_key(make_key("live", bytes(10), bytes(32)).encode()) == KeyId("live", "0000000000")


def test_sessions() -> None:
    """A token carries 256 bits; its id is a digest, so no credential."""
    token = make_session(bytes(range(32))).encode()
    assert len(token) == 47
    assert parse_session(token)
    assert not parse_session(token + b"x")
    assert not parse_session(b"admin-token-dev")
    assert session_id(token) == hashlib.sha256(token).hexdigest()


def test_hash_is_peppered() -> None:
    """HMAC-SHA256(pepper, key)."""
    assert key_hash(b"pepper", b"key") == hmac.new(b"pepper", b"key", hashlib.sha256).digest()


def test_too_little_randomness_is_refused() -> None:
    """A short draw is a fault of the caller, never a weak key."""
    with pytest.raises(ValueError, match="random bytes"):
        make_key("live", b"short", bytes(32))
    with pytest.raises(ValueError, match="random bytes"):
        make_key("live", bytes(10), bytes(31))
    with pytest.raises(ValueError, match="random bytes"):
        make_session(bytes(31))
