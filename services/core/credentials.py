"""API keys and session tokens: their shapes, check digits and digests (contract.md section 4).

`sk_live_<id>_<secret>_<check>`, `ses_<secret>`. A wrong shape or check is refused without any look-up. The store
keeps digests only: a dump of it holds no usable credential. Callers: the gateway (authenticate), the api (keys,
sessions), `scalable-api keys`. Draws are bytes of `secrets.token_bytes`, arguments because core draws nothing itself.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import zlib
from dataclasses import dataclass
from typing import Final

BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ID_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u to misread
ID_LENGTH: Final = 10
SECRET_BYTES: Final = 32
SECRET_LENGTH: Final = 43  # 62^43 > 2^256
CHECK_LENGTH: Final = 6  # 62^6 > 2^32
KEY_LENGTH: Final = 69
SESSION_PREFIX: Final = "ses_"

_KEY: Final = re.compile(rb"sk_(live|test)_([0-9a-hjkmnp-tv-z]{10})_[0-9A-Za-z]{43}_([0-9A-Za-z]{6})")
_SESSION: Final = re.compile(rb"ses_[0-9A-Za-z]{43}")


@dataclass(frozen=True, slots=True)
class KeyId:
    """The public part of a well-formed key."""

    env: str
    id: str

    @property
    def prefix(self) -> str:
        """How the key is logged and shown."""
        return f"sk_{self.env}_{self.id}"


def base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(BASE62[digit])
    return "".join(reversed(digits))


def _check(body: bytes) -> str:
    return base62(zlib.crc32(body), CHECK_LENGTH)


def parse_key(text: bytes) -> KeyId | None:
    """The key's id if shape and check digits are right, else None: no look-up is worth it."""
    match = _KEY.fullmatch(text)
    if match is None or _check(text[: -CHECK_LENGTH - 1]) != match[3].decode():
        return None
    return KeyId(match[1].decode(), match[2].decode())


def make_key(env: str, id_draw: bytes, secret_draw: bytes) -> str:
    """A new key from 10 and 32 random bytes; `env` is live or test."""
    if len(id_draw) != ID_LENGTH or len(secret_draw) != SECRET_BYTES:
        raise ValueError(f"a key needs {ID_LENGTH} + {SECRET_BYTES} random bytes")
    name = "".join(ID_ALPHABET[byte & 31] for byte in id_draw)
    body = f"sk_{env}_{name}_{base62(int.from_bytes(secret_draw, 'big'), SECRET_LENGTH)}"
    return f"{body}_{_check(body.encode())}"


def key_hash(pepper: bytes, key: bytes) -> bytes:
    """What the store keeps of a key: HMAC-SHA256(pepper, whole key)."""
    return hmac.digest(pepper, key, "sha256")


def cache_key(secret: bytes, credential: bytes) -> bytes:
    """What a process's caches are keyed by: keyed BLAKE2b (RFC 7693), a fifth of an HMAC's cost. `secret` is the process's own, at most
    64 random bytes: nobody can choose credentials that share a place, and memory shows none.
    """
    return hashlib.blake2b(credential, key=secret, digest_size=16).digest()


def parse_session(token: bytes) -> bool:
    return _SESSION.fullmatch(token) is not None


def make_session(draw: bytes) -> str:
    """A new session token from 32 random bytes."""
    if len(draw) != SECRET_BYTES:
        raise ValueError(f"a session token needs {SECRET_BYTES} random bytes")
    return SESSION_PREFIX + base62(int.from_bytes(draw, "big"), SECRET_LENGTH)


def session_id(token: bytes) -> str:
    """The session's name in the store: SHA-256 of the token in hex, so no credential itself."""
    return hashlib.sha256(token).hexdigest()
