"""Field lines: syntax, Host, Connection, and the names with a meaning."""

from __future__ import annotations

from tests.unit.http1.vector import END, GET, HOST, POST, Vector, bad, good, hosted, of

THRICE = b"1.1 gateway-t, 1.1 gateway-gateway-1"  # the rig's name and the real gateway's
FORGED = b"forged.example"

SYNTAX = (
    *of("3.1 head syntax", "D8", vectors=(
        bad("bare LF", b"GET /x HTTP/1.1\r\nHost: a\nX: y\r\n\r\n"),
        bad("bare LF ends the request line", b"GET /x HTTP/1.1\nHost: a\r\n\r\n"),
        bad("bare LF ends the head", b"GET /x HTTP/1.1\r\nHost: a\r\n\n"),
        bad("bare CR", GET + b"X: a\rb\r\n\r\n"),
        bad("bare CR before a name", GET + b"\rX: a\r\n\r\n"),
        bad("bare CR in the request line", b"GET /x\r HTTP/1.1\r\n" + HOST + END),
        bad("NUL", GET + b"X: a\x00b\r\n\r\n"),
        bad("NUL in a name", GET + b"X\x00: a\r\n\r\n"),
        bad("control byte", GET + b"X: a\x01b\r\n\r\n"),
        bad("vertical tab", GET + b"X: a\x0bb\r\n\r\n"),
        bad("DEL", GET + b"X: a\x7fb\r\n\r\n"),
    )),
    *of("3.1 head syntax", "D9", vectors=(
        bad("folded", GET + b"X: a\r\n b\r\n\r\n"),
        bad("folded with a tab", GET + b"X: a\r\n\tb\r\n\r\n"),
        bad("folded, empty", GET + b"X: a\r\n \r\n\r\n"),
        bad("space before the colon", GET + b"X : a\r\n\r\n"),
        bad("tab before the colon", GET + b"X\t: a\r\n\r\n"),
        bad("space before the first name", b"GET /x HTTP/1.1\r\n X: a\r\n\r\n"),
        bad("empty name", GET + b": a\r\n\r\n"),
        bad("no colon", GET + b"X\r\n\r\n"),
        bad("name is no token", GET + b"X(: a\r\n\r\n"),
        bad("name is not ASCII", GET + b"X\xc3\xa9: a\r\n\r\n"),
        bad("space in a name", GET + b"X Y: a\r\n\r\n"),
        bad("coding with a space before the colon", POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
    )),
    *of("3.1 underscore", "D9", vectors=(
        bad("name with _", GET + b"X_Y: a\r\n\r\n"),
        bad("length with _", POST + b"Content_Length: 3\r\n\r\nabc"),
        bad("internal name with _", GET + b"X_Client_IP: 1.2.3.4\r\n\r\n"),
    )),
    *of("3.1 served", "D8", vectors=(
        good("bytes 80-ff in a value", GET + b"X: caf\xc3\xa9 \xff\r\n" + END, sees=(b"X: caf\xc3\xa9 \xff\r\n",)),
        good("bytes 80-9f in a value", GET + b"X: a\x80\x85\x9fb\r\nY: c\r\n" + END, sees=(b"X: a\x80\x85\x9fb\r\nY: c\r\n",)),
        good("empty value", GET + b"X:\r\n" + END, sees=(b"\r\nX:\r\n",)),
        good("spaces around a value", GET + b"X: \t y \t\r\n" + END),
        good("a name twice keeps its order", GET + b"X: 1\r\nY: 2\r\nx: 3\r\n" + END, sees=(b"X: 1\r\nY: 2\r\nx: 3\r\n",)),
    )),
)  # fmt: skip

HOSTS = (
    *of("3.1 Host", "D10", vectors=(
        bad("no host", b"GET /x HTTP/1.1\r\n\r\n"),
        bad("host twice", GET + HOST + END),
        bad("host twice on 1.0", b"GET /x HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"),
        *(
            bad(f"host {value!r}", hosted(value))
            for value in (
                b"", b"a,b", b"u@a", b"a/b", b"a:b", b"a:99999", b"a b", b"[::1", b"a:80:80", b"a?b", b"a#b", b"a\\b", b":80", b"http://a",
                b"\xc3\xa9", b"[x]", b"a%zz", b"a:-1",
            )
        ),
        *(good(f"host {value!r}", hosted(value), sees=(b"\r\nHost: " + value + END,)) for value in (b"a", b"a:80", b"[::1]:80", b"127.0.0.1", b"a.b-c_d", b"a:")),
        good("host missing on 1.0", b"GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
    )),
)  # fmt: skip

CONNECTION = (
    *of("3.1 Connection names framing", "D19", vectors=tuple(
        bad(f"connection names {value!r}", GET + b"Connection: %b\r\n\r\n" % value)
        for value in (b"host", b"close, Content-Length", b"Transfer-Encoding", b"x,\thost ,y")
    )),
    *of("3.1 Connection names others", "D19", vectors=(
        good("connection names a credential", GET + b"Connection: Authorization, X-Request-ID\r\n\r\n"),
        good("connection names a protected field", GET + b"If-Match: kept\r\nConnection: If-Match, via\r\n\r\n", sees=(b"If-Match: kept", b"\r\nVia: ")),
        good("connection names another field", GET + b"X-Own: secret\r\nConnection: x-own, close\r\nX-Else: kept\r\n\r\n", closes=True,
             sees=(b"X-Else: kept",), hides=(b"secret", b"connection:")),
        good("connection twice", GET + b"Connection: x-a\r\nX-A: gone\r\nConnection: x-b\r\nX-B: gone\r\n\r\n", hides=(b"gone",)),
        good("connection with empty members", GET + b"Connection: , ,keep-alive,\r\n\r\n", hides=(b"connection:",)),
    )),
    *of("3.3 hop-by-hop", vectors=(
        good("hop-by-hop fields", GET + b"Keep-Alive: gone\r\nProxy-Connection: gone\r\nProxy-Authorization: gone\r\nTE: gone\r\nTrailer: gone\r\n"
             b"Proxy-Authenticate: gone\r\n\r\n", hides=(b"gone",)),
    )),
)  # fmt: skip

NAMES = (
    *of("3.1 once", "3.3 credentials", vectors=(
        bad("authorization twice", GET + b"Authorization: Bearer a\r\nAuthorization: Bearer a\r\n\r\n"),
        bad("key twice", GET + b"X-API-Key: a\r\nx-api-key: b\r\n\r\n"),
        bad("cookie twice", GET + b"Cookie: a=b\r\nCookie: c=d\r\n\r\n"),
    )),
    *of("3.3 credentials", vectors=(good("cookie is removed", GET + b"Cookie: a=secret\r\n\r\n", hides=(b"secret",)),)),
    *of("3.3 internal", "D20", vectors=(
        good("internal fields", GET + b"X-Gateway-Identity: forged.example\r\nx-GATEWAY-ratelimit: forged.example\r\nX-Client-Ip: forged.example\r\n"
             b"X-Gateway-Class: forged.example\r\n\r\n", hides=(FORGED,)),
    )),
    *of("3.3 misleading", "D21", vectors=(
        good("misleading fields", GET + b"X-Real-IP: forged.example\r\nX-Original-URL: /forged.example\r\nX-Rewrite-URL: /forged.example\r\n"
             b"X-HTTP-Method-Override: forged.example\r\nProxy: forged.example\r\n\r\n", hides=(FORGED,)),
    )),
    *of("3.3 forwarded", "D21", vectors=(
        good("forwarded fields of a stranger", GET + b"X-Forwarded-For: forged.example\r\nX-Forwarded-Proto: forged.example\r\n"
             b"X-Forwarded-Host: forged.example\r\nForwarded: for=forged.example\r\n\r\n", hides=(FORGED,)),
    )),
    *of("3.3 made anew", "D23", vectors=(
        good("ids out of form", GET + b"X-Request-ID: a b forged.example\r\ntraceparent: 00-forged.example\r\ntracestate: forged.example\r\n\r\n", hides=(FORGED,)),
    )),
    *of("3.1 served", "D20", vectors=(good("ranges pass", GET + b"Range: bytes=5-2,9-\r\n\r\n", sees=(b"Range: bytes=5-2,9-",)),)),
    *of("3.1 expectation and loop", "D18", vectors=(
        Vector("unknown expectation", GET + b"Expect: tea\r\n" + END, (417,), 0, closes=False),
        Vector("two expectations", POST + b"Expect: 100-continue, tea\r\nContent-Length: 3\r\n\r\nabc", (417,), 0, closes=True),
        Vector("loop", GET + b"Via: " + THRICE + b"\r\nVia: " + THRICE + b", 1.0 gateway-t (x), 1.0 gateway-gateway-1 (x)\r\n" + END, (508,), 0, closes=False),
        good("two passes are no loop", GET + b"Via: " + THRICE + b", 1.1 gateway-t2, 1.1 gateway-t\r\n" + END),
        good("expect without a body", GET + b"Expect: 100-continue\r\n" + END, hides=(b"expect",)),
        good("expect on 1.0", b"POST /x HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc", closes=True, hides=(b"expect",)),
    )),
    *of("3.1 served", "D18", vectors=(
        good("upgrade is ignored", GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n", hides=(b"upgrade", b"connection")),
        good("upgrade, then get", GET + b"Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAM\r\n\r\n" + GET + END, 2, hides=(b"upgrade",)),
        good("upgrade not named by connection", GET + b"Upgrade: websocket\r\n\r\n" + GET + END, 2, hides=(b"upgrade",)),
    )),
    *of("3.1 request line and head", "3.5 fields_max", vectors=(good("100 fields", GET + b"".join(b"X%d: 1\r\n" % i for i in range(99)) + END),)),
)  # fmt: skip

VECTORS = (*SYNTAX, *HOSTS, *CONNECTION, *NAMES)
LONG = of("3.1 request line and head", "D14", "3.5 head_max", "3.5 fields_max", vectors=(
    bad("101 fields", GET + b"".join(b"X%d: 1\r\n" % i for i in range(100)) + END, 431),
    bad("101 fields, repeats of one", GET + b"Via: 1.1 x\r\n" * 100 + END, 431),
    bad("head of 33 KiB", GET + b"".join(b"X%d: %b\r\n" % (i, b"v" * 1000) for i in range(34)) + END, 431),
    bad("one field of 40 KiB", GET + b"X: " + b"v" * 40960 + b"\r\n\r\n", 431),
    bad("a name of 40 KiB", GET + b"X" * 40960 + b": v\r\n\r\n", 431),
    bad("a head that does not end", GET + b"X: " + b"v" * 40960, 431),
    good("head of 30 KiB", GET + b"".join(b"X%d: %b\r\n" % (i, b"v" * 1000) for i in range(29)) + END),
))  # fmt: skip
