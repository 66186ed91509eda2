"""Requests of data-path 3.1 and reliability.md D1–D18 with what must come of them. Each is run whole, split at every byte, byte by byte.

`answers`: statuses in order. `forwarded`: how many whole requests reach the upstream. `closes`: the connection ends after them.
"""

from __future__ import annotations

from dataclasses import dataclass

HOST = b"Host: a.example\r\n"
GET = b"GET /x HTTP/1.1\r\n" + HOST
POST = b"POST /x HTTP/1.1\r\n" + HOST
END = b"\r\n"


@dataclass(frozen=True)
class Vector:
    name: str
    data: bytes
    answers: tuple[int, ...]
    forwarded: int
    closes: bool


def good(name: str, data: bytes, count: int = 1, *, closes: bool = False, status: int = 200) -> Vector:
    return Vector(name, data, (status,) * count, count, closes)


def bad(name: str, data: bytes, status: int = 400) -> Vector:
    """Refused with close; a good request behind it is not parsed."""
    return Vector(name, data, (status,), 0, closes=True)


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


VECTORS = (
    # what is served
    good("plain get", GET + END),
    good("crlf before the request line", b"\r\n\r\n" + GET + END),
    good("two spaces in the request line", b"GET  /x HTTP/1.1\r\n" + HOST + END),
    good("three pipelined", (GET + END) * 3, 3),
    good("body on get", GET + b"Content-Length: 3\r\n\r\nabc"),
    good("length 0", sized(b"0", b"")),
    good("length with space", sized(b"3 ")),
    good("bytes 80-ff in a value", GET + b"X: caf\xc3\xa9 \xff\r\n" + END),
    good("empty value", GET + b"X:\r\n" + END),
    good("chunked", chunked(b"3\r\nabc\r\n2;a=b\r\nde\r\n0\r\n\r\n")),
    good("chunked, upper case, spaces", coded(b"Chunked ")),
    good("chunked with trailers", chunked(b"3\r\nabc\r\n0\r\nHost: evil\r\nX-Y: z\r\n\r\n")),
    bad("length as a trailer", chunked(b"3\r\nabc\r\n0\r\nContent-Length: 9\r\n\r\n")),  # llhttp will not have it
    good("chunked then get", chunked(b"3\r\nabc\r\n0\r\n\r\n", GET + END), 2),
    good("post then get", sized(b"3") + GET + END, 2),
    good("connection close, rest unparsed", GET + b"Connection: close\r\n\r\n" + GET + END, closes=True),
    good("connection close, rest malformed", GET + b"Connection: close\r\n\r\n\x00\x01", closes=True),
    good("http 1.0", b"GET /x HTTP/1.0\r\n\r\n", closes=True),
    good("http 1.0 keep-alive", b"GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
    good("extension of 250 bytes", chunked(b"3;" + b"e" * 250 + b"\r\nabc\r\n0\r\n\r\n")),
    good("upgrade is ignored", GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
    good(
        "h2c upgrade with a body",
        POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\nabc" + GET + END,
        2,
    ),
    good(
        "upgrade with a chunked body",
        POST
        + b"Connection: upgrade\r\nUpgrade: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        + GET
        + END,
        2,
    ),
    good("absolute-form", target(b"http://b.example:81/y?q")),
    good("absolute-form without path", target(b"HTTP://b.example")),
    good("expect without a body", GET + b"Expect: 100-continue\r\n" + END),
    good("100 fields", GET + b"".join(b"X%d: 1\r\n" % i for i in range(99)) + END),
    Vector("options *", b"OPTIONS * HTTP/1.1\r\n" + HOST + END, (204,), 0, closes=False),
    good("path is normalised", target(b"/a//./b/../%7e%3a?%zz//../")),
    # Content-Length, Transfer-Encoding
    bad("length and coding", POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
    bad("coding and length", POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
    bad("length twice, equal", POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"),
    bad("length twice, unlike", POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"),
    *(
        bad(f"length {value!r}", sized(value))
        for value in (
            b"+3",
            b"-3",
            b"3,3",
            b"0x3",
            b"5_0",
            b"5 5",
            b"",
            b"007",
            b"\xd9\xa3",
            b"9223372036854775808",
            b"1" * 30,
        )
    ),
    *(bad(f"coding {value!r}", coded(value), 501) for value in (b"gzip", b"identity", b"xchunked", b"gzip, chunked")),
    *(
        bad(f"coding {value!r}", coded(value))
        for value in (b",chunked", b"chunked, gzip", b"chunked;q=1", b"chunked, chunked")
    ),
    bad("coding twice", coded(b"chunked", b"chunked")),
    bad("coding on 1.0", b"POST /x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
    # chunks
    *(
        bad(f"chunk size {value!r}", chunked(value + b"\r\nabc\r\n0\r\n\r\n"))
        for value in (b"0x3", b"3 ", b"+3", b"5_0", b"zz", b"", b"11111111111111111", b"3;", b"3;a=\x01b")
    ),
    bad("chunk line ended by LF", chunked(b"3\nabc\r\n0\r\n\r\n")),
    bad("no CRLF after chunk data", chunked(b"3\r\nabcd\r\n0\r\n\r\n")),
    bad("extension of 512 bytes", chunked(b"3;" + b"e" * 512 + b"\r\nabc\r\n0\r\n\r\n")),
    bad("extension of 600 bytes behind data", chunked(b"3\r\nabc\r\n3;" + b"e" * 600 + b"\r\nabc\r\n0\r\n\r\n")),
    # head syntax
    bad("bare LF", b"GET /x HTTP/1.1\r\nHost: a\nX: y\r\n\r\n"),
    bad("bare CR", GET + b"X: a\rb\r\n\r\n"),
    bad("NUL", GET + b"X: a\x00b\r\n\r\n"),
    bad("control byte", GET + b"X: a\x01b\r\n\r\n"),
    bad("DEL", GET + b"X: a\x7fb\r\n\r\n"),
    bad("folded", GET + b"X: a\r\n b\r\n\r\n"),
    bad("space before the colon", GET + b"X : a\r\n\r\n"),
    bad("space before the first name", b"GET /x HTTP/1.1\r\n X: a\r\n\r\n"),
    bad("empty name", GET + b": a\r\n\r\n"),
    bad("name is no token", GET + b"X(: a\r\n\r\n"),
    bad("name with _", GET + b"X_Y: a\r\n\r\n"),
    # Host
    bad("no host", b"GET /x HTTP/1.1\r\n\r\n"),
    bad("host twice", GET + HOST + END),
    *(
        bad(f"host {value!r}", hosted(value))
        for value in (b"", b"a,b", b"u@a", b"a/b", b"a:b", b"a:99999", b"a b", b"[::1")
    ),
    *(good(f"host {value!r}", hosted(value)) for value in (b"a", b"a:80", b"[::1]:80", b"127.0.0.1", b"a.b-c_d")),
    # targets
    bad("userinfo", target(b"http://u@b.example/")),
    bad("empty authority", target(b"http:///x")),
    bad("scheme", target(b"ftp://b.example/")),
    bad("get *", target(b"*")),
    *(
        bad(f"target {value!r}", target(value))
        for value in (
            b"/a b",
            b"/\x01",
            b"/\xc3\xa9",
            b"/a#b",
            b"/a\\b",
            b"/%00",
            b"/%2f",
            b"/%5C",
            b"/%zz",
            b"/%4",
            b"/%c0%af",
            b"/..",
        )
    ),
    bad("query with #", target(b"/a?b#c")),
    # methods and versions
    bad("connect", b"CONNECT a:443 HTTP/1.1\r\n" + HOST + END, 501),
    *(
        bad(f"method {value!r}", value + b" /x HTTP/1.1\r\n" + HOST + END, 501)
        for value in (b"FOO", b"get", b"GETX", b"SOURCE", b"X!y")
    ),
    *(
        bad(f"start {value!r}", value, 400)
        for value in (b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n", b"\x16\x03\x01\x02\x00", b"G@T / HTTP/1.1\r\n", b" GET")
    ),
    bad("http 0.9", b"GET /x\r\n\r\n"),
    bad("http 0.9, named", b"GET /x HTTP/0.9\r\n\r\n"),
    bad("lower-case version", b"GET /x http/1.1\r\n" + HOST + END),
    bad("junk version", b"GET /x HTTP/1.a\r\n" + HOST + END),
    bad("http 1.2", b"GET /x HTTP/1.2\r\n" + HOST + END, 505),
    bad("http 2.0", b"GET /x HTTP/2.0\r\n" + HOST + END, 505),
    bad("preface of http 2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    # Connection
    *(
        bad(f"connection names {value!r}", GET + b"Connection: %b\r\n\r\n" % value)
        for value in (b"host", b"close, Content-Length", b"Transfer-Encoding")
    ),
    good("connection names a credential", GET + b"Connection: Authorization, X-Request-ID\r\n\r\n"),
    # repeats, expectations, loops
    bad("authorization twice", GET + b"Authorization: Bearer a\r\nAuthorization: Bearer a\r\n\r\n"),
    bad("key twice", GET + b"X-API-Key: a\r\nx-api-key: b\r\n\r\n"),
    bad("cookie twice", GET + b"Cookie: a=b\r\nCookie: c=d\r\n\r\n"),
    Vector("unknown expectation", GET + b"Expect: tea\r\n" + END, (417,), 0, closes=False),
    Vector(
        "loop",
        GET + b"Via: 1.1 gateway-t, 1.1 b\r\nVia: 1.1 gateway-t, 1.0 gateway-t (x)\r\n" + END,
        (508,),
        0,
        closes=False,
    ),
    good("two passes are no loop", GET + b"Via: 1.1 gateway-t, 1.1 gateway-t2, 1.1 gateway-t\r\n" + END),
    # a good one before a bad one
    Vector("good, then bad", GET + END + GET + b"X : y\r\n\r\n" + GET + END, (200, 400), 1, closes=True),
    Vector("good, then no method", GET + END + b"FOO /x HTTP/1.1\r\n\r\n", (200, 501), 1, closes=True),
)

# Too long to be split at every byte.
LONG = (
    bad("request line", b"GET /" + b"a" * 8192 + b" HTTP/1.1\r\n" + HOST + END, 414),
    good("long request line", b"GET /" + b"a" * 8000 + b" HTTP/1.1\r\n" + HOST + END),
    bad("101 fields", GET + b"".join(b"X%d: 1\r\n" % i for i in range(100)) + END, 431),
    bad("101 fields, repeats of one", GET + b"Via: 1.1 x\r\n" * 100 + END, 431),
    bad("head of 33 KiB", GET + b"".join(b"X%d: %b\r\n" % (i, b"v" * 1000) for i in range(34)) + END, 431),
    bad("one field of 40 KiB", GET + b"X: " + b"v" * 40960 + b"\r\n\r\n", 431),
    good("head of 30 KiB", GET + b"".join(b"X%d: %b\r\n" % (i, b"v" * 1000) for i in range(29)) + END),
    bad("trailers of 9 KiB", chunked(b"3\r\nabc\r\n0\r\n" + b"X: y\r\n" * 1600 + b"\r\n"), 431),
    bad("one trailer of 9 KiB", chunked(b"3\r\nabc\r\n0\r\nX: " + b"y" * 9300 + b"\r\n\r\n"), 431),
    bad("framing of 40 KiB", chunked((b"1;" + b"e" * 200 + b"\r\na\r\n") * 200 + b"0\r\n\r\n")),
    bad("declared body over the limit", sized(b"10485761", b"")[: -0 or None], 413),
    good("many small chunks", chunked(b"1\r\na\r\n" * 3000 + b"0\r\n\r\n")),
)
