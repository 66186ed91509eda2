"""Answers of data-path 3.2, 3.3 and reliability.md U1-U7: an upstream's bytes, how it ends, and what the client gets.

Run through a real gateway in tests/integration/test_http1_vectors.py, whole, split at every byte and byte by byte; without sockets in
test_upstream.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

CUT = 0  # the client's connection breaks off: no answer that looks whole
HEAD = b"HTTP/1.1 200 OK\r\n"
SIZED = HEAD + b"Content-Length: 3\r\n\r\nabc"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
SECRET = b"gone.example"


@dataclass(frozen=True)
class Reply:
    """`outcomes`: the statuses the client may see (CUT too, where the head may have gone on before the fault). `end`: what the upstream does
    behind its bytes. `interims`: statuses in front of the answer. `lines`: of the answer's head, as they must come; none has `SECRET` in it.
    """

    name: str
    data: bytes
    outcomes: tuple[int, ...]
    body: bytes = b""
    method: bytes = b"POST"
    end: str = "keep"
    interims: tuple[int, ...] = ()
    lines: tuple[tuple[bytes, bytes], ...] = ()
    rows: tuple[str, ...] = ()


def of(*rows: str, replies: tuple[Reply, ...]) -> tuple[Reply, ...]:
    return tuple(replace(reply, rows=rows) for reply in replies)


def invalid(name: str, data: bytes) -> Reply:
    return Reply(name, data, (502,))


def breaks(name: str, data: bytes, end: str = "keep") -> Reply:
    """Wrong behind its head: 502, or a cut if the head has gone on."""
    return Reply(name, data, (502, CUT), end=end)


REPLIES = (
    *of("3.2 rejected", "U1", replies=(
        invalid("length and coding", HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
        invalid("coding and length", HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
        invalid("differing lengths", HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc"),
        invalid("equal lengths", HEAD + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"),
        *(
            invalid(f"length {value!r}", HEAD + b"Content-Length: %b\r\n\r\nabc" % value)
            for value in (b"+3", b"-3", b"0x3", b"3,3", b"3 3", b"03", b"", b"9223372036854775808", b"1" * 30, b"\xd9\xa3")
        ),
    )),
    *of("3.2 rejected", "U2", replies=(
        invalid("bare LF", HEAD + b"X: a\nY: b\r\n\r\n"),
        invalid("bare LF ends the head", HEAD + b"X: a\r\n\n"),
        invalid("bare CR", HEAD + b"X: a\rb\r\n\r\n"),
        invalid("NUL", HEAD + b"X: \x00\r\n\r\n"),
        invalid("folding", HEAD + b"X: a\r\n b\r\n\r\n"),
        invalid("control byte", HEAD + b"X: \x01\r\n\r\n"),
        invalid("bad name", HEAD + b"X y: a\r\n\r\n"),
        invalid("space before the colon", HEAD + b"X : a\r\n\r\n"),
        invalid("empty name", HEAD + b": a\r\n\r\n"),
        invalid("no status line", b"hello\r\n\r\n"),
        invalid("a request", b"GET / HTTP/1.1\r\n\r\n"),
    )),
    *of("3.2 version, status, coding, 205", "U2", replies=(
        *(invalid(f"status {value!r}", b"HTTP/1.1 %b X\r\nContent-Length: 0\r\n\r\n" % value) for value in (b"99", b"1000", b"abc", b"600", b"20", b"", b"000", b"-20")),
        *(invalid(f"version {value!r}", b"%b 200 OK\r\nContent-Length: 0\r\n\r\n" % value) for value in (b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1.2", b"http/1.1", b"HTTP/1", b"ICY")),
        *(
            invalid(f"coding {value!r}", HEAD + b"Transfer-Encoding: %b\r\n\r\n0\r\n\r\n" % value)
            for value in (b"gzip", b"identity", b"gzip, chunked", b"chunked, chunked", b"xchunked", b"chunked;q=1")
        ),
        invalid("205 with a body", b"HTTP/1.1 205 X\r\nContent-Length: 3\r\n\r\nabc"),
        invalid("205, chunked", b"HTTP/1.1 205 X\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
        Reply("205 without a body", b"HTTP/1.1 205 X\r\nContent-Length: 0\r\n\r\n", (205,)),
    )),
    *of("3.2 rejected", "U3", replies=(
        invalid("101 unasked", b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
        replace(invalid("9 interim answers", b"HTTP/1.1 102 X\r\n\r\n" * 9 + SIZED), interims=(102,) * 8),
        Reply("8 interim answers", b"HTTP/1.1 103 X\r\nLink: a\r\n\r\n" * 8 + SIZED, (200,), b"abc", interims=(103,) * 8),
        Reply("100 unasked", b"HTTP/1.1 100 Continue\r\n\r\n" + SIZED, (200,), b"abc"),
    )),
    *of("3.2 surplus", "U4", replies=(
        Reply("body after 204", b"HTTP/1.1 204 X\r\nContent-Length: 3\r\n\r\nabc", (204,)),
        Reply("body after 304", b"HTTP/1.1 304 X\r\nContent-Length: 3\r\n\r\nabc", (304,)),
        Reply("chunked body after 204", b"HTTP/1.1 204 X\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", (204,)),
        Reply("bytes past the end", SIZED + b"abc", (200,), b"abc"),
        Reply("an answer past the end", SIZED + b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n", (200,), b"abc"),
        Reply("junk past the last chunk", CHUNKED + b"3\r\nabc\r\n0\r\n\r\nzzz", (200,), b"abc"),
    )),
    *of("3.2 reason phrase", "U7", replies=(
        Reply("reason with bytes", b"HTTP/1.1 200 gone.example \xff\x01\r\nContent-Length: 3\r\n\r\nabc", (200, 502), b"abc"),
        Reply("no reason", b"HTTP/1.1 200\r\nContent-Length: 3\r\n\r\nabc", (200, 502), b"abc"),
        Reply("a status of our own", b"HTTP/1.1 299 X\r\nContent-Length: 3\r\n\r\nabc", (299,), b"abc"),
    )),
    *of("3.2 once the head has gone on", "U5", replies=(
        breaks("bad chunk size", CHUNKED + b"zz\r\nabc\r\n0\r\n\r\n"),
        breaks("no CRLF behind a chunk", CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n"),
        breaks("chunk size over 2^64", CHUNKED + b"3\r\nabc\r\n11111111111111111\r\n"),
        breaks("bare LF behind a chunk size", CHUNKED + b"3\nabc\r\n0\r\n\r\n"),
        breaks("closed inside chunks", CHUNKED + b"3\r\nabc\r\n", "close"),
        breaks("reset inside chunks", CHUNKED + b"3\r\nabc\r\n", "reset"),
        breaks("closed before the last empty line", CHUNKED + b"3\r\nabc\r\n0\r\n", "close"),
    )),
    *of("3.2 rejected", "U5", replies=(
        Reply("closed before the head", b"HTTP/1.1 200", (502,), end="close"),
        Reply("reset before the head", b"HTTP/1.1 200", (502,), end="reset"),
        Reply("closed inside a short body", HEAD + b"Content-Length: 5\r\n\r\nabc", (502,), end="close"),
        Reply("closed inside a long body", HEAD + b"Content-Length: 50000\r\n\r\nabc", (CUT,), end="close"),
    )),
    *of("3.3 answers", "U7", replies=(
        Reply(
            "hop-by-hop and internal fields",
            HEAD + b"Connection: close, X-Own\r\nX-Own: gone.example\r\nKeep-Alive: gone.example\r\nServer: gone.example\r\nAlt-Svc: gone.example\r\n"
            b"X-Api-Load: 7\r\nProxy-Authenticate: gone.example\r\nUpgrade: gone.example\r\nX-Kept: yes\r\nDate: then\r\nContent-Length: 3\r\n\r\nabc",
            (200,), b"abc", lines=((b"x-kept", b"yes"), (b"date", b"then")),
        ),
        Reply("content-encoding it has not", HEAD + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc", (200,), b"abc", lines=((b"content-encoding", b"gzip"),)),
        Reply("50 cookies", HEAD + b"".join(b"Set-Cookie: c%d=1\r\n" % n for n in range(50)) + b"Content-Length: 3\r\n\r\nabc", (200,), b"abc", lines=((b"set-cookie", b"c49=1"),)),
        Reply("trailers", CHUNKED + b"3\r\nabc\r\n0\r\nX-Y: gone.example\r\n\r\n", (200,), b"abc"),
        Reply("chunked with an extension", CHUNKED + b"3;gone.example\r\nabc\r\n0;gone.example\r\n\r\n", (200,), b"abc"),
        Reply("closed behind the body", HEAD + b"\r\nabc", (200,), b"abc", end="close"),
        Reply("http 1.0", b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", (200,), b"abc"),
        Reply("http 1.0, closed behind the body", b"HTTP/1.0 200 OK\r\n\r\nabc", (200,), b"abc", end="close"),
    )),
)  # fmt: skip

LONG = of("3.2 rejected", "3.5 upstream_head_max, upstream_fields_max", "U1", replies=(
    invalid("201 fields", HEAD + b"".join(b"X%d: 1\r\n" % i for i in range(201)) + b"\r\n"),
    invalid("head of 70 KiB", HEAD + b"".join(b"X%d: %b\r\n" % (i, b"v" * 1000) for i in range(70)) + b"\r\n"),
    invalid("endless field", HEAD + b"X: " + b"v" * 70_000),
    replace(invalid("interim answers without end", b"HTTP/1.1 103 X\r\n\r\n" * 200), interims=(103,) * 8),
    Reply("200 fields", HEAD + b"".join(b"X%d: 1\r\n" % i for i in range(199)) + b"Content-Length: 3\r\n\r\nabc", (200,), b"abc"),
    Reply("a long body", HEAD + b"Content-Length: 60000\r\n\r\n" + b"x" * 60_000, (200,), b"x" * 60_000),
    Reply("a long body in chunks", CHUNKED + b"ea60\r\n" + b"x" * 60_000 + b"\r\n0\r\n\r\n", (200,), b"x" * 60_000),
))  # fmt: skip
