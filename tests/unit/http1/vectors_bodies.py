"""Bodies: Content-Length, Transfer-Encoding, chunks, trailers, and how much."""

from __future__ import annotations

from tests.unit.http1.vector import END, GET, POST, Vector, bad, chunked, coded, good, of, sized, spoilt

OVER_INT64 = b"9223372036854775808"
TE = b"Transfer-Encoding: chunked\r\n"
ABC = b"3\r\nabc\r\n"
LAST = b"0\r\n\r\n"

FRAMING = (
    *of("3.1 length with coding", "D1", vectors=(
        bad("length and coding", POST + b"Content-Length: 3\r\n" + TE + END + ABC + LAST),
        bad("coding and length", POST + TE + b"Content-Length: 3\r\n\r\n" + ABC + LAST),
        bad("length and coding, odd case", POST + b"content-LENGTH: 3\r\ntransfer-ENCODING: chunked\r\n\r\n" + ABC + LAST),
        bad("length 0 and coding", POST + b"Content-Length: 0\r\n" + TE + END + LAST),
        bad("length and coding on get", GET + b"Content-Length: 3\r\n" + TE + END + ABC + LAST),
        bad("length and another coding", POST + b"Content-Length: 3\r\nTransfer-Encoding: identity\r\n\r\nabc"),
    )),
    *of("3.1 length", "D1", vectors=(
        bad("length twice, equal", POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"),
        bad("length twice, unlike", POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"),
        bad("length twice, far apart", POST + b"Content-Length: 3\r\nX: y\r\ncontent-length: 0\r\n\r\nabc"),
        bad("length as a list", sized(b"3,3")),
        bad("length as a list with space", sized(b"3, 3")),
    )),
    *of("3.1 length", "D2", vectors=tuple(
        bad(f"length {value!r}", sized(value))
        for value in (
            b"+3", b"-3", b"0x3", b"5_0", b"5 5", b"", b"007", b"00", b"\xd9\xa3", b"\xe2\x80\x903", b"3.0", b"3e0", b"3;", b"'3'", b'"3"',
            OVER_INT64, b"18446744073709551616", b"18446744073709551619", b"1" * 30, b"-0", b"0b11", b"3\t3",
        )
    )),
    *of("3.1 coding we lack", "D3", vectors=tuple(
        bad(f"coding {value!r}", coded(value), 501)
        for value in (b"gzip", b"identity", b"xchunked", b"gzip, chunked", b"deflate,chunked", b"chunkedx", b"Identity, Chunked")
    )),
    *of("3.1 coding", "D4", vectors=(
        *(
            bad(f"coding {value!r}", coded(value))
            for value in (
                b",chunked", b"chunked,", b"chunked, gzip", b"chunked;q=1", b"chunked, chunked", b"chunked, identity", b"", b'"chunked"', b"chunked;",
                b"chun ked", b"\x0bchunked", b"chunked\x00", b"\xe7hunked", b"gzip chunked", b"gzip;q=1, chunked",
            )
        ),
        bad("coding twice", coded(b"chunked", b"chunked")),
        bad("coding twice, the first another", coded(b"identity", b"chunked"), 501),
        bad("coding twice, the last another", coded(b"chunked", b"identity")),
        bad("coding folded", POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n" + ABC + LAST),
        bad("coding on 1.0", b"POST /x HTTP/1.0\r\n" + TE + END + ABC + LAST),
        bad("unknown coding on 1.0", b"POST /x HTTP/1.0\r\nTransfer-Encoding: gzip\r\n\r\nabc"),
    )),
    *of("3.1 served", vectors=(
        good("body on get", GET + b"Content-Length: 3\r\n\r\nabc"),
        good("body on get, chunked", GET + TE + END + ABC + LAST + GET + END, 2),
        good("body on delete", b"DELETE /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"),
        good("post without a body", POST + END, sees=(b"\r\nContent-Length: 0\r\n",)),
        good("length 0", sized(b"0", b"")),
        good("length with space", sized(b"3 "), sees=(b"\r\nContent-Length: 3\r\n",)),
        good("length with tab", sized(b"\t3\t"), sees=(b"\r\nContent-Length: 3\r\n",)),
        good("post then get", sized(b"3") + GET + END, 2),
        good("a request in a body", sized(b"%d" % len(GET + END), GET + END)),
        good("chunked, odd case, spaces", coded(b"\tChunKed "), sees=(b"\r\nTransfer-Encoding: chunked\r\n",)),
        good("chunked then get", chunked(ABC + LAST, GET + END), 2),
        good("empty chunked", chunked(LAST, GET + END), 2),
    )),
    *of("3.1 served", "D18", vectors=(
        good("h2c upgrade with a body", POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\nabc" + GET + END, 2),
        good("upgrade with a chunked body", POST + b"Connection: upgrade\r\nUpgrade: x\r\n" + TE + END + ABC + LAST + GET + END, 2),
        good("body with expect, all at once", POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc"),
    )),
)  # fmt: skip

CHUNKS = (
    *of("3.1 chunk", "D5", vectors=(
        *(
            spoilt(f"chunk size {value!r}", chunked(value + b"\r\nabc\r\n" + LAST))
            for value in (
                b"0x3", b"3 ", b" 3", b"+3", b"-3", b"5_0", b"zz", b"", b"g", b"11111111111111111", b"ffffffffffffffff3", b"10000000000000003", b"3;",
                b"3; ", b"3;a=\x01b", b"3;a\x00", b"3;a=\x7f", b'3;a="b\rc"', b'3;a="b\nc"', b"3\t", b"3\x0b", b"\xd9\xa3",
            )
        ),
        spoilt("chunk size too large for its data", chunked(b"4\r\nabc\r\n" + LAST)),
        good("leading zeros in a size", chunked(b"0003\r\nabc\r\n000\r\n\r\n", GET + END), 2),
        good("hexadecimal sizes", chunked(b"a\r\n0123456789\r\nB\r\n0123456789a\r\n" + LAST)),
        good("extension without a name", chunked(b"3;;a\r\nabc\r\n" + LAST), hides=(b";",)),  # llhttp reads over it; it goes no further
        good("extension", chunked(b'3;a=b\r\nabc\r\n2;c="d e"\r\nde\r\n0;x\r\n\r\n'), hides=(b"a=b", b"d e")),
    )),
    *of("3.1 extension", "D5", vectors=(
        good("extension of 250 bytes", chunked(b"3;" + b"e" * 250 + b"\r\nabc\r\n" + LAST)),
        spoilt("extension of 512 bytes", chunked(b"3;" + b"e" * 512 + b"\r\nabc\r\n" + LAST)),
        spoilt("extension of 600 bytes behind data", chunked(ABC + b"3;" + b"e" * 600 + b"\r\nabc\r\n" + LAST)),
        spoilt("extension of 600 bytes on the last chunk", chunked(ABC + b"0;" + b"e" * 600 + b"\r\n\r\n")),
    )),
    *of("3.1 chunk", "D6", vectors=(
        spoilt("chunk line ended by LF", chunked(b"3\nabc\r\n" + LAST)),
        spoilt("chunk line ended by CR", chunked(b"3\rabc\r\n" + LAST)),
        spoilt("chunk data ended by LF", chunked(b"3\r\nabc\n" + LAST)),
        spoilt("no CRLF after chunk data", chunked(b"3\r\nabcd\r\n" + LAST)),
        spoilt("last chunk ended by LF", chunked(ABC + b"0\n\r\n")),
        spoilt("trailers ended by LF", chunked(ABC + b"0\r\n\n")),
    )),
    *of("3.1 trailers", "D7", vectors=(
        good("trailers", chunked(ABC + b"0\r\nHost: evil\r\nAuthorization: evil\r\nX-Client-IP: evil\r\nX-Y: evil\r\n\r\n"), hides=(b"evil",)),
        good("trailers, then get", chunked(ABC + b"0\r\nX-Y: evil\r\n\r\n", GET + b"X-Z: own\r\n\r\n"), 2, sees=(b"X-Z: own",), hides=(b"evil",)),
        spoilt("length as a trailer", chunked(ABC + b"0\r\nContent-Length: 9\r\n\r\n")),  # llhttp will not have it
        spoilt("malformed trailer", chunked(ABC + b"0\r\nX : y\r\n\r\n")),
        spoilt("folded trailer", chunked(ABC + b"0\r\nX: y\r\n z\r\n\r\n")),
        spoilt("NUL in a trailer", chunked(ABC + b"0\r\nX: \x00\r\n\r\n")),
    )),
)  # fmt: skip

VECTORS = (*FRAMING, *CHUNKS)
LONG = (
    *of("3.1 trailers", "D7", "3.5 trailers_max", vectors=(
        spoilt("trailers of 9 KiB", chunked(ABC + b"0\r\n" + b"X: y\r\n" * 1600 + b"\r\n"), 431),
        spoilt("one trailer of 9 KiB", chunked(ABC + b"0\r\nX: " + b"y" * 9300 + b"\r\n\r\n"), 431),
        good("trailers of 7 KiB", chunked(ABC + b"0\r\n" + b"X: y\r\n" * 1100 + b"\r\n", GET + END), 2),
    )),
    *of("3.1 extension", "D5", "3.5 chunk_framing_max", vectors=(
        spoilt("framing of 40 KiB", chunked((b"1;" + b"e" * 200 + b"\r\na\r\n") * 200 + LAST)),
        good("many small chunks", chunked(b"1\r\na\r\n" * 3000 + LAST)),
        spoilt("zeros without end in a size", chunked(b"0" * 2000 + b"3\r\nabc\r\n" + LAST)),
    )),
    *of("3.1 body over the limit", "D14", "3.5 body_max", vectors=(
        bad("declared body over the limit", sized(b"10485761", b""), 413),
        bad("declared body far over the limit", sized(b"9" * 18, b"abc"), 413),
        Vector("declared body over the limit, waiting", POST + b"Expect: 100-continue\r\nContent-Length: 10485761\r\n\r\n", (413,), 0, closes=True),
    )),
    *of("3.1 served", "3.5 pending_body_max", vectors=(
        good("100 KB", sized(b"100000", b"x" * 100_000) + GET + END, 2),
        good("100 KB, chunked", chunked(b"186a0\r\n" + b"x" * 100_000 + b"\r\n" + LAST, GET + END), 2),
    )),
)  # fmt: skip
