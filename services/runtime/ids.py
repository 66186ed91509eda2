"""Trace and span ids: random, made a few hundred at a time, because a call per id cost more than the id.

Used by the `trace` stages of gateway and balancer.
"""

from __future__ import annotations

import os
from binascii import hexlify
from typing import Final

BOTH: Final = 48  # hex digits of a trace id and a span id
TRACE: Final = 32
DRAWN: Final = 256  # pairs per draw

_hex = b""
_at = 0


def draw_ids() -> tuple[bytes, bytes]:
    """A trace id (32 lower-case hex digits) and a span id (16)."""
    global _hex, _at  # noqa: PLW0603  # one source per process
    if _at == len(_hex):
        _hex, _at = hexlify(os.urandom(DRAWN * BOTH // 2)), 0
    at = _at
    _at = at + BOTH
    return _hex[at : at + TRACE], _hex[at + TRACE : _at]
