"""Requests of data-path 3.1, 3.3, 3.4 and reliability.md D1-D21 with what must come of them.

Each is run whole, split at every byte and byte by byte: without sockets in test_intake.py, through a real gateway in
tests/integration/test_http1_vectors.py.
"""

from __future__ import annotations

from tests.unit.http1 import vectors_bodies, vectors_fields, vectors_starts
from tests.unit.http1.vector import GET, HOST, POST, Vector

__all__ = ["GET", "HOST", "LONG", "POST", "VECTORS", "Vector"]

VECTORS: tuple[Vector, ...] = (*vectors_starts.VECTORS, *vectors_fields.VECTORS, *vectors_bodies.VECTORS)
LONG: tuple[Vector, ...] = (
    *vectors_starts.LONG,
    *vectors_fields.LONG,
    *vectors_bodies.LONG,
)  # too long to be split at every byte everywhere
