"""What a vector is: a client's bytes, or an upstream's, with what must come of them and the rows they stand for."""

from __future__ import annotations

from dataclasses import dataclass, replace

HOST = b"Host: a.example\r\n"
GET = b"GET /x HTTP/1.1\r\n" + HOST
POST = b"POST /x HTTP/1.1\r\n" + HOST
END = b"\r\n"


@dataclass(frozen=True)
class Vector:
    """`answers`: statuses in order. `forwarded`: how many whole requests reach the upstream. `closes`: the connection ends behind them.
    `spoilt`: the fault is in the body, so a request may have begun upstream; it is never completed. `sees`, `hides`: bytes that are, and are
    not, in what the upstream gets, in any case. `rows`: of tests/unit/http1/rows.py.
    """

    name: str
    data: bytes
    answers: tuple[int, ...]
    forwarded: int
    closes: bool
    spoilt: bool = False
    sees: tuple[bytes, ...] = ()
    hides: tuple[bytes, ...] = ()
    rows: tuple[str, ...] = ()


def of(*rows: str, vectors: tuple[Vector, ...]) -> tuple[Vector, ...]:
    """Vectors of these rows."""
    return tuple(replace(vector, rows=(*rows, *vector.rows)) for vector in vectors)


def good(
    name: str,
    data: bytes,
    count: int = 1,
    *,
    closes: bool = False,
    status: int = 200,
    sees: tuple[bytes, ...] = (),
    hides: tuple[bytes, ...] = (),
) -> Vector:
    return Vector(name, data, (status,) * count, count, closes, sees=sees, hides=hides)


def bad(name: str, data: bytes, status: int = 400) -> Vector:
    """Refused with close; a good request behind it is not parsed."""
    return Vector(name, data, (status,), 0, closes=True)


def spoilt(name: str, data: bytes, status: int = 400) -> Vector:
    """Refused with close once its body goes wrong."""
    return Vector(name, data, (status,), 0, closes=True, spoilt=True)


def chunked(body: bytes, rest: bytes = b"") -> bytes:
    return POST + b"Transfer-Encoding: chunked\r\n\r\n" + body + rest


def coded(*values: bytes) -> bytes:
    return POST + b"".join(b"Transfer-Encoding: %b\r\n" % v for v in values) + b"\r\n3\r\nabc\r\n0\r\n\r\n"


def sized(value: bytes, body: bytes = b"abc") -> bytes:
    return POST + b"Content-Length: %b\r\n\r\n" % value + body


def target(value: bytes) -> bytes:
    return b"GET %b HTTP/1.1\r\n" % value + HOST + END


def hosted(value: bytes) -> bytes:
    return b"GET /x HTTP/1.1\r\nHost: %b\r\n\r\n" % value
