"""One GET on a connection of its own: how endpoints are asked whether they are ready (balancer) and how tests ask for
one answer.

Not for the data path: it awaits. Uses the engine's heads and llhttp, so that what is healthy here is readable there.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

BODY_MAX: Final = 64 * 1024
READ_SIZE: Final = 16 * 1024


@dataclass(slots=True)
class Probe:
    """What an endpoint said; status 0: nothing valid in time. `failure`: connect_failed, timeout, invalid, or empty."""

    status: int = 0
    special: dict[bytes, bytes] = field(default_factory=dict)  # every field, lower-case name
    body: bytes = b""
    failure: str = ""


class _Reader:
    """llhttp's callbacks for one answer."""

    def __init__(self) -> None:
        self.probe = Probe()
        self.complete = False
        self.parser: HttpResponseParser | None = HttpResponseParser(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.probe.special[name.lower()] = value

    def on_headers_complete(self) -> None:
        if self.parser is not None:
            self.probe.status = self.parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        self.probe.body += data

    def on_message_complete(self) -> None:
        self.complete = True


async def probe(host: str, port: int, path: bytes, timeout_s: float) -> Probe:
    """GET `path`, `Connection: close`; never raises for what the other side does."""
    try:
        async with asyncio.timeout(timeout_s):
            return await _ask(host, port, path)
    except TimeoutError:
        return Probe(failure="timeout")
    except OSError:
        return Probe(failure="connect_failed")


async def _ask(host: str, port: int, path: bytes) -> Probe:
    stream, writer = await asyncio.open_connection(host, port)
    reader = _Reader()
    parser = reader.parser
    assert parser is not None  # noqa: S101  # until the end, when the cycle is cut
    try:
        authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        writer.write(b"GET %b HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % (path, authority.encode()))
        while not reader.complete and len(reader.probe.body) <= BODY_MAX:
            data = await stream.read(READ_SIZE)
            if not data:
                break
            parser.feed_data(data)
    except (HttpParserError, HttpParserUpgrade):
        return Probe(failure="invalid")
    finally:
        writer.transport.abort()
        reader.parser = None
    return reader.probe if reader.probe.status else Probe(failure="invalid")
