"""What is cached, under which key: one msgpack record, one key form for both levels.

A key is `c:<namespace>:<generation>:<code version>:<128-bit hash>`: the generation makes clearing a namespace one
INCR, the code version keeps two releases from reading each other's bodies, the hash makes every parameter a plain
character.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import msgspec

from services.core.cache import Entry

CODE_VERSION: Final = 1  # raised when a cached body's shape changes
MAX_SHARED_BYTES: Final = 262_144  # larger ones are not stored in Redis


@dataclass(frozen=True, slots=True)
class Namespace:
    """A kind of cached thing. `ttl_s` fresh, then `stale_s` more in which it may stand in for a failing origin."""

    name: str
    ttl_s: float
    stale_s: float


class _Stored(msgspec.Struct, array_like=True):
    body: bytes
    etag: str
    stored: float
    fresh_until: float
    stale_until: float
    delta_ms: float
    negative: bool


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Stored)


def digest(parameters: tuple[str, ...]) -> str:
    """128 bits of the canonical parameters; their lengths are part of it, so no two tuples meet."""
    text = "".join(f"{len(p)}:{p}" for p in parameters)
    return blake2b(text.encode(), digest_size=16).hexdigest()


def key(namespace: str, generation: int, hashed: str) -> str:
    return f"c:{namespace}:{generation}:{CODE_VERSION}:{hashed}"


def encode(entry: Entry) -> bytes:
    return _encoder.encode(
        _Stored(
            entry.body,
            entry.etag,
            entry.stored,
            entry.fresh_until,
            entry.stale_until,
            entry.delta_ms,
            entry.negative,
        ),
    )


def decode(raw: bytes) -> Entry | None:
    """None for bytes that are not an entry: somebody else's key is a miss, not a fault."""
    try:
        s = _decoder.decode(raw)
    except msgspec.DecodeError:
        return None
    return Entry(
        body=s.body,
        etag=s.etag,
        stored=s.stored,
        fresh_until=s.fresh_until,
        stale_until=s.stale_until,
        delta_ms=s.delta_ms,
        negative=s.negative,
    )
