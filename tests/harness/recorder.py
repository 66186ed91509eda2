"""An upstream that keeps every byte it gets and reads each request twice: with h11, and with the standard library's
parsers (http.server for the head, http.client for the body). Where the two differ in method, target, fields, body or
end, and where what came is no request at all, `faults` says so: a front that forwards such bytes can be used to smuggle.

Requests are kept by the client they came from: the X-Client-IP that the gateway writes, so a test that gives each of its
connections a loopback address of its own knows what each of them caused. The answer is 200 with the request's number, or
what `script` says.
"""

from __future__ import annotations

import asyncio
import http.client
import http.server
import io
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Self

import h11

HEAD_MAX: Final = 128 * 1024
CLIENT: Final = b"x-client-ip"
vars(http.client)["_MAXHEADERS"] = 400  # its bound of 100 fields is lower than ours with the gateway's own


@dataclass(frozen=True, slots=True)
class Request:
    number: int
    method: bytes
    target: bytes
    fields: tuple[tuple[bytes, bytes], ...]  # names in lower case, in order
    body: bytes
    raw: bytes

    def values(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.fields if key == name]


@dataclass(slots=True)
class Script:
    """An answer in parts: each further one is sent by `Recorder.go_on`. `end`: keep, close, reset."""

    parts: list[bytes]
    end: str = "keep"


class Recorder:
    """`async with Recorder() as recorder: …`; `begun` are heads whose request never became whole."""

    def __init__(self) -> None:
        self.port = 0
        self.script: Callable[[Request], Script | None] = lambda _request: None
        self.faults: list[str] = []
        self.whole: defaultdict[bytes, list[Request]] = defaultdict(list)
        self.begun: defaultdict[bytes, int] = defaultdict(int)
        self.open: set[Carried] = set()
        self.count = 0

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Carried(self),  # type: ignore[arg-type,return-value]  # duck-typed
            "127.0.0.1",
            0,
            backlog=4096,
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self._server.close()
        for carried in list(self.open):
            carried.transport.abort()

    def go_on(self) -> bool:
        """The next part of every answer that has one; False if none has."""
        waiting = [carried for carried in self.open if carried.parts]
        for carried in waiting:
            carried.next_part()
        return bool(waiting)

    def forget(self, client: bytes) -> tuple[list[Request], int]:
        """What came from a client, and how many requests of its began and never ended."""
        whole, begun = self.whole.pop(client, []), self.begun.pop(client, 0)
        return whole, begun - len(whole)


@dataclass(eq=False, slots=True)
class Carried:
    """One connection from the gateway."""

    recorder: Recorder
    transport: Any = None
    raw: bytearray = field(default_factory=bytearray)
    reader: h11.Connection = field(default_factory=lambda: h11.Connection(h11.SERVER, HEAD_MAX))
    head: h11.Request | None = None
    body: bytearray = field(default_factory=bytearray)
    parts: list[bytes] = field(default_factory=list)
    end: str = "keep"

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.recorder.open.add(self)

    def connection_lost(self, _error: Exception | None) -> None:
        self.recorder.open.discard(self)

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...

    def eof_received(self) -> None: ...

    def data_received(self, data: bytes) -> None:
        self.raw += data
        try:
            self.reader.receive_data(data)
            while self._event(self.reader.next_event()):
                pass
        except h11.RemoteProtocolError as error:
            self.recorder.faults.append(f"h11: {error}: {bytes(self.raw[:400])!r}")
            self.transport.abort()

    def _event(self, event: Any) -> bool:
        if isinstance(event, h11.Request):
            self.head = event
            self.recorder.begun[_client(event)] += 1
        elif isinstance(event, h11.Data):
            self.body += event.data
        elif isinstance(event, h11.EndOfMessage):
            self._whole()
        else:  # NEED_DATA, PAUSED
            return False
        return True

    def _whole(self) -> None:
        recorder, head = self.recorder, self.head
        assert head is not None
        rest = self.reader.trailing_data[0]
        raw = bytes(self.raw[: len(self.raw) - len(rest)])
        recorder.count += 1
        fields = tuple((bytes(name), bytes(value)) for name, value in head.headers)
        request = Request(recorder.count, head.method, head.target, fields, bytes(self.body), raw)
        again = read_again(raw)
        ours = (request.method, request.target, _plain(fields), request.body, len(raw))
        if again != ours:
            recorder.faults.append(f"read as {ours!r} and as {again!r}")
        if rest:
            recorder.faults.append(f"behind a request: {rest!r}")
        recorder.whole[_client(head)].append(request)
        self.raw.clear()
        self.body.clear()
        self.head = None
        self._answer(request)

    def _answer(self, request: Request) -> None:
        script = self.recorder.script(request)
        if script is None:
            number = b"%d" % request.number
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(number), number))
        else:
            self.parts, self.end = list(script.parts), script.end
            self.next_part()
        self.reader = h11.Connection(h11.SERVER, HEAD_MAX)

    def next_part(self) -> None:
        if self.parts:
            self.transport.write(self.parts.pop(0))
        if not self.parts and self.end == "close":
            self.transport.close()
        elif not self.parts and self.end == "reset":
            self.transport.abort()


def _client(head: h11.Request) -> bytes:
    return next((bytes(value) for name, value in head.headers if name == CLIENT), b"")


def _plain(fields: tuple[tuple[bytes, bytes], ...]) -> list[tuple[bytes, bytes]]:
    return [(name.lower(), value.strip(b" \t")) for name, value in fields]


class StandardHead(http.server.BaseHTTPRequestHandler):
    """The standard library's reading of a request head."""

    def __init__(self, raw: bytes) -> None:
        self.rfile = io.BytesIO(raw)
        self.raw_requestline = self.rfile.readline()
        self.client_address = ("", 0)
        self.refused = ""
        if not self.parse_request():
            self.refused = self.refused or "refused"

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        self.refused = f"{code} {message} {explain}"


class Stream:
    """What http.client asks of a socket."""

    def __init__(self, raw: bytes) -> None:
        self.file = io.BytesIO(raw)

    def makefile(self, *_: object) -> io.BytesIO:
        return self.file


class Kept(io.BytesIO):
    def close(self) -> None:
        """http.client closes at the end of a body; its place is still asked for."""


def read_again(raw: bytes) -> tuple[bytes, bytes, list[tuple[bytes, bytes]], bytes, int] | str:
    """Method, target, fields, body and length of one request, by the standard library; or why it has none."""
    head = StandardHead(raw)
    if head.refused:
        return head.refused
    fields = [
        (name.lower().encode("latin-1"), value.encode("latin-1").strip(b" \t")) for name, value in head.headers.items()
    ]
    body, size = b"", head.rfile.tell()
    if "content-length" in head.headers or "transfer-encoding" in head.headers:
        # a body is framed in an answer as in a request
        at = raw.index(b"\r\n") + 2
        stream = Stream(b"")
        stream.file = Kept(b"HTTP/1.1 200 OK\r\n" + raw[at:])
        answer = http.client.HTTPResponse(stream)  # type: ignore[arg-type]
        try:
            answer.begin()
            body = answer.read()
        except (http.client.HTTPException, ValueError) as error:
            return f"{type(error).__name__}: {error}"
        size = stream.file.tell() - len(b"HTTP/1.1 200 OK\r\n") + at
    return head.command.encode(), head.path.encode("latin-1"), fields, body, size
