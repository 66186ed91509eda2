"""One message from the tables of vectors and a few mistakes: the same for the same seed.

A mutation is small (a byte, a piece, a line), or puts together what stands in different vectors: most of what it makes
is nearly right, and that is where two parsers may differ. No HEAD: the reader of answers does not know the question.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Final

MESSAGE_MAX: Final = 12_000
SHORT: Final = 2_000  # of the long vectors one in twenty is taken: their length is their only point
ODD: Final = b'\r\n\t \x00\x0b\x0c\x01\x7f\x80\x85\xa0\xff:;,="%/\\#?*_+-0123456789abcdefxX.@[]{}()'
PIECES: Final = (
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\n\n", b"\r\r\n", b" ", b"\t", b"\x00", b"0\r\n\r\n", b"0", b"3\r\nabc\r\n", b"5\r\n", b"ffffffff\r\n", b";a=b",
    b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Content-Length : 5\r\n", b"Content-Length:\r\n 5\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding:\x0bchunked\r\n", b"Transfer-Encoding: chunked, identity\r\n", b"Transfer-Encoding: xchunked\r\n", b"Connection: close\r\n",
    b"Connection: Content-Length\r\n", b"Connection: keep-alive, X-Client-IP\r\n", b"Expect: 100-continue\r\n", b"Upgrade: h2c\r\nConnection: upgrade\r\n",
    b"Host: other.example\r\n", b"X-Client-IP: 10.9.8.7\r\n", b"X-Gateway-Identity: v1.e30.AAAA\r\n", b"X_Client_IP: 10.9.8.7\r\n", b"TE: trailers\r\n",
    b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n", b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0",
    b"GET ", b"OPTIONS ", b"CONNECT ", b"PRI ", b"/../", b"%2e%2e", b"%2F", b"//", b"http://b.example/", b"*",
)  # fmt: skip
Mutation = Callable[[bytearray, Random, Sequence[bytes]], None]


def message(random: Random, seeds: Sequence[bytes]) -> bytes:
    """A vector with one to six mistakes; not longer than MESSAGE_MAX, and never empty."""
    data = bytearray(_pick(random, seeds))
    for _ in range(random.choice((1, 1, 1, 2, 2, 3, 4, 6))):
        random.choice(MUTATIONS)(data, random, seeds)
    return bytes(data[:MESSAGE_MAX]) or b"\r"


def cuts(random: Random, data: bytes) -> list[bytes]:
    """The message in one to four writes."""
    places = sorted(
        {random.randrange(1, len(data) + 1) for _ in range(random.choice((0, 0, 1, 1, 2, 3)))} - {len(data)}
    )
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


def _pick(random: Random, seeds: Sequence[bytes]) -> bytes:
    found = random.choice(seeds)
    while len(found) > SHORT and random.randrange(20):
        found = random.choice(seeds)
    return found


def _span(data: bytearray, random: Random) -> tuple[int, int]:
    at = random.randrange(len(data) + 1)
    return at, min(len(data), at + random.choice((1, 1, 2, 4, 8, 20)))


def _replace_byte(data: bytearray, random: Random, _seeds: Sequence[bytes]) -> None:
    if data:
        data[random.randrange(len(data))] = random.choice(ODD)


def _flip_bit(data: bytearray, random: Random, _seeds: Sequence[bytes]) -> None:
    if data:
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def _insert_byte(data: bytearray, random: Random, _seeds: Sequence[bytes]) -> None:
    data.insert(random.randrange(len(data) + 1), random.choice(ODD))


def _insert_piece(data: bytearray, random: Random, _seeds: Sequence[bytes]) -> None:
    at = random.randrange(len(data) + 1)
    data[at:at] = random.choice(PIECES)


def _insert_line(data: bytearray, random: Random, _seeds: Sequence[bytes]) -> None:
    """A piece where a line begins: behind one of the line ends."""
    at = data.find(b"\n", random.randrange(len(data) + 1)) + 1
    data[at:at] = random.choice(PIECES)


def _delete(data: bytearray, random: Random, _seeds: Sequence[bytes]) -> None:
    start, end = _span(data, random)
    del data[start:end]


def _repeat(data: bytearray, random: Random, _seeds: Sequence[bytes]) -> None:
    start, end = _span(data, random)
    data[end:end] = data[start:end] * random.choice((1, 1, 2, 40))


def _move_line(data: bytearray, random: Random, _seeds: Sequence[bytes]) -> None:
    lines = bytes(data).splitlines(keepends=True)
    if len(lines) > 1:
        line = lines.pop(random.randrange(len(lines)))
        lines.insert(random.randrange(len(lines) + 1), line)
        data[:] = b"".join(lines)


def _swap_case(data: bytearray, random: Random, _seeds: Sequence[bytes]) -> None:
    start, end = _span(data, random)
    data[start:end] = data[start:end].swapcase()


def _splice(data: bytearray, random: Random, seeds: Sequence[bytes]) -> None:
    """The beginning of this, the end of another."""
    other = _pick(random, seeds)
    data[random.randrange(len(data) + 1) :] = other[random.randrange(len(other)) :]


def _append(data: bytearray, random: Random, seeds: Sequence[bytes]) -> None:
    """Another behind it: a pipeline, or what must not be parsed."""
    data += _pick(random, seeds)


def _truncate(data: bytearray, random: Random, _seeds: Sequence[bytes]) -> None:
    del data[random.randrange(len(data) + 1) :]


MUTATIONS: Final[tuple[Mutation, ...]] = (
    _replace_byte, _flip_bit, _insert_byte, _insert_piece, _insert_line, _insert_line, _delete, _repeat, _move_line, _swap_case, _splice, _append, _truncate,
)  # fmt: skip
