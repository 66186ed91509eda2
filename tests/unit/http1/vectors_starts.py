"""Request lines: method, target, version; and what comes in front of and behind a request."""

from __future__ import annotations

from tests.unit.http1.vector import END, GET, HOST, POST, Vector, bad, good, of, target

PIPELINE = (
    good("plain get", GET + END),
    good("crlf before the request line", b"\r\n\r\n" + GET + END),
    good("two spaces in the request line", b"GET  /x HTTP/1.1\r\n" + HOST + END, sees=(b"GET /x HTTP/1.1\r\n",)),
    good("three pipelined", (GET + END) * 3, 3),
    good("twenty pipelined", (GET + END) * 20, 20),
    good("connection close, rest unparsed", GET + b"Connection: close\r\n\r\n" + GET + END, closes=True),
    good("connection close, rest malformed", GET + b"Connection: close\r\n\r\n\x00\x01", closes=True),
    good("http 1.0", b"GET /x HTTP/1.0\r\n\r\n", closes=True, sees=(b"host: localhost\r\n",)),
    good("http 1.0, rest unparsed", b"GET /x HTTP/1.0\r\n\r\n" + GET + END, closes=True),
    good("http 1.0 keep-alive", b"GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
    Vector("good, then bad", GET + END + GET + b"X : y\r\n\r\n" + GET + END, (200, 400), 1, closes=True),
    Vector("good, then no method", GET + END + b"FOO /x HTTP/1.1\r\n\r\n", (200, 501), 1, closes=True),
    Vector("bad, then good", GET + b"X : y\r\n\r\n" + GET + END, (400,), 0, closes=True),
)

METHODS = (
    *of("3.1 OPTIONS *", "D12", vectors=(
        Vector("options *", b"OPTIONS * HTTP/1.1\r\n" + HOST + END, (204,), 0, closes=False),
        Vector("options *, then get", b"OPTIONS * HTTP/1.1\r\n" + HOST + END + GET + END, (204, 200), 1, closes=False),
        bad("options * without host", b"OPTIONS * HTTP/1.1\r\n\r\n"),
        bad("get *", target(b"*")),
        bad("post *", b"POST * HTTP/1.1\r\n" + HOST + END),
    )),
    *of("3.1 CONNECT", "D12", vectors=(
        bad("connect", b"CONNECT a:443 HTTP/1.1\r\n" + HOST + END, 501),
        bad("connect, then bytes", b"CONNECT a:443 HTTP/1.1\r\n" + HOST + END + GET + END, 501),
        bad("connect without a target", b"CONNECT  HTTP/1.1\r\n" + HOST + END, 501),  # found by the fuzzer: it was a 500
        bad("connect without target and version", b"CONNECT \r\n\r\nGET /x HTTP/1.1\r\n" + HOST + END),
        bad("connect with a path", b"CONNECT /x HTTP/1.1\r\n" + HOST + END, 501),
    )),
    *of("3.1 unknown method", "D12", vectors=tuple(
        bad(f"method {value!r}", value + b" /x HTTP/1.1\r\n" + HOST + END, 501)
        for value in (b"FOO", b"get", b"GETX", b"G", b"SOURCE", b"DESCRIBE", b"X!y", b"G" * 60)
    )),
    *of("3.1 no method", "D12", "D13", vectors=tuple(
        bad(f"start {value[:12]!r}", value, 400)
        for value in (
            b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n", b"\x16\x03\x01\x02\x00", b"G@T / HTTP/1.1\r\n", b" GET", b"\x00\x00",
            b"\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n G", b"\xef\xbb\xbfGET / HTTP/1.1\r\n", b"G" * 70, b"(x) / HTTP/1.1\r\n",
        )
    )),
)  # fmt: skip

VERSIONS = (
    *of("3.1 version", "D13", vectors=(
        bad("http 0.9", b"GET /x\r\n\r\n"),
        bad("http 0.9, named", b"GET /x HTTP/0.9\r\n\r\n"),
        bad("lower-case version", b"GET /x http/1.1\r\n" + HOST + END),
        bad("junk version", b"GET /x HTTP/1.a\r\n" + HOST + END),
        bad("version 1", b"GET /x HTTP/1\r\n" + HOST + END),
        bad("version 1.", b"GET /x HTTP/1.\r\n" + HOST + END),
        bad("version 1.10", b"GET /x HTTP/1.10\r\n" + HOST + END),
        bad("version 01.1", b"GET /x HTTP/01.1\r\n" + HOST + END),
        bad("version and space", b"GET /x HTTP/1.1 \r\n" + HOST + END),
        bad("version twice", b"GET /x HTTP/1.1 HTTP/1.1\r\n" + HOST + END),
        bad("another protocol", b"GET /x RTSP/1.0\r\n" + HOST + END),
        bad("http 1.2", b"GET /x HTTP/1.2\r\n" + HOST + END, 505),
        bad("http 2.0", b"GET /x HTTP/2.0\r\n" + HOST + END, 505),
        bad("http 3.0", b"GET /x HTTP/3.0\r\n" + HOST + END, 505),
        bad("preface of http 2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    )),
)  # fmt: skip

TARGETS = (
    *of("3.1 absolute-form", "D11", vectors=(
        good("absolute-form", target(b"http://b.example:81/y?q"), sees=(b"GET /y?q HTTP/1.1\r\nHost: b.example:81\r\n",), hides=(b"a.example",)),
        good("absolute-form without path", target(b"HTTP://b.example"), sees=(b"GET / HTTP/1.1\r\nHost: b.example\r\n",)),
        good("absolute-form with a query alone", target(b"https://b.example?q"), sees=(b"GET /?q HTTP/1.1\r\n",)),
        bad("userinfo", target(b"http://u@b.example/")),
        bad("empty authority", target(b"http:///x")),
        bad("port alone", target(b"http://:80/x")),
        bad("scheme", target(b"ftp://b.example/")),
        bad("absolute-form without host", b"GET http://b.example/ HTTP/1.1\r\n\r\n"),
        bad("absolute-form beside a bad host", b"GET http://b.example/ HTTP/1.1\r\nHost: a,b\r\n\r\n"),
        bad("authority-form", target(b"b.example:80")),
        bad("no slash", target(b"x/y")),
    )),
    *of("3.4 refused characters", "D15", vectors=tuple(
        bad(f"target {value!r}", target(value))
        for value in (
            b"/a b", b"/\x01", b"/\xc3\xa9", b"/a#b", b"/a\\b", b"/a?b#c", b"/a?b\x7f", b"/a?\xff", b"/\x7f", b"/a\tb", b"/\x00",
        )
    )),
    *of("3.4 refused escapes", "D15", vectors=tuple(
        bad(f"target {value!r}", target(value))
        for value in (
            b"/%00", b"/%1f", b"/%7F", b"/%2f", b"/%2F", b"/%5C", b"/%5c", b"/%zz", b"/%4", b"/%", b"/%%41", b"/%c0%af", b"/%ff", b"/%e2%82",
            b"/%ed%a0%80", b"/%0d%0aX:%20y", b"/%u0041",
        )
    )),
    *of("3.4 normal form", "D16", vectors=(
        good("path is normalised", target(b"/a//./b/../%7e%3a?%zz//../"), sees=(b"GET /a/~%3A?%zz//../ HTTP/1.1",)),
        good("escapes of dots", target(b"/a/%2e%2E/b"), sees=(b"GET /b HTTP/1.1",)),
        good("unreserved escapes", target(b"/%61%5f%2d"), sees=(b"GET /a_- HTTP/1.1",)),
        good("an escape is decoded once", target(b"/%252e%252f"), sees=(b"GET /%252e%252f HTTP/1.1",)),
        good("parameters are text", target(b"/a;x=y/..;/b"), sees=(b"GET /a;x=y/..;/b HTTP/1.1",)),
        good("dot at the end", target(b"/a/b/.."), sees=(b"GET /a/ HTTP/1.1",)),
        good("three dots", target(b"/.../a"), sees=(b"GET /.../a HTTP/1.1",)),
        good("two slashes in front", target(b"//evil.example/x"), sees=(b"GET /evil.example/x HTTP/1.1",)),
        bad("above the root", target(b"/..")),
        bad("above the root, escaped", target(b"/a/%2e%2e/%2e%2e/b")),
    )),
    *of("3.4 plain", vectors=(good("a plain path passes", target(b"/a.b/c_d~e!$&'()*+,;=:@?x=%zz"), sees=(b"GET /a.b/c_d~e!$&'()*+,;=:@?x=%zz HTTP/1.1",)),)),
)  # fmt: skip

VECTORS = (
    *of("3.1 served", "D17", vectors=PIPELINE[:5]),
    *of("3.1 nothing after a bad message", "D17", vectors=PIPELINE[5:]),
    *METHODS,
    *VERSIONS,
    *TARGETS,
)
LONG = of("3.1 request line and head", "D14", "3.5 request_line_max", vectors=(
    bad("request line", b"GET /" + b"a" * 8192 + b" HTTP/1.1\r\n" + HOST + END, 414),
    bad("request line that does not end", b"GET /" + b"a" * 9000, 414),
    good("long request line", b"GET /" + b"a" * 8000 + b" HTTP/1.1\r\n" + HOST + END),
    bad("absolute-form too long", b"GET http://b.example/" + b"a" * 8192 + b" HTTP/1.1\r\n" + HOST + END, 414),
    bad("long method", b"POST" * 3000, 400),
    good("post of a long query", b"POST /?" + b"q" * 8100 + b" HTTP/1.1\r\n" + HOST + END),
)) + of("3.1 nothing after a bad message", vectors=(
    bad("64 KiB behind a refusal", b"GET /x HTTP/1.1\r\n\r\n" + b"z" * 60_000),
    good("much behind connection close", POST + b"Content-Length: 1\r\nConnection: close\r\n\r\na" + b"z" * 50_000, closes=True),
))  # fmt: skip
