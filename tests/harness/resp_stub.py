"""A Redis that answers oddly: RESP on a unix socket, right by default, and per command whatever a script says instead.

The right answers come from core/limits.py (counters.py), so a test can tell whose reply it got. `SCRIPTS` are the odd
ones of reliability.md's F11, by name: each takes the command and its right reply and says what is written instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import hiredis

from services.runtime.limit_script import SHA
from tests.harness.counters import Counters
from tests.harness.stores import folder

MORE: Final = object()
PONG: Final = b"+PONG\r\n"
NOSCRIPT: Final = b"-NOSCRIPT No matching script. Please use EVAL.\r\n"


@dataclass(frozen=True, slots=True)
class Late:
    """Everything from here on comes so much later: RESP answers in order."""

    seconds: float
    reply: bytes


@dataclass(frozen=True, slots=True)
class Cut:
    """So much of a reply, then the connection ends."""

    reply: bytes


@dataclass(frozen=True, slots=True)
class Drip:
    """A byte at a time."""

    reply: bytes
    pause_s: float = 0.001


Said = bytes | Late | Cut | Drip
Odd = Callable[[list[bytes], bytes], Said]


def integers(values: list[int]) -> bytes:
    return b"*%d\r\n" % len(values) + b"".join(b":%d\r\n" % value for value in values)


def bulk(value: bytes | None) -> bytes:
    return b"$-1\r\n" if value is None else b"$%d\r\n%b\r\n" % (len(value), value)


class RespStub:
    """`odd` decides what is said in place of a right reply; None: nothing odd. PINGs and greetings are always right
    unless `odd_pings`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"unix://{path}"
        self.odd: Odd | None = None
        self.odd_pings = False
        self.values: dict[str, bytes] = {}
        self.counters = Counters()
        self.scripts: set[str] = set()
        self.heard: list[list[bytes]] = []
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, self.path)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            writer.close()

    def count(self, name: bytes) -> int:
        return sum(parts[0].upper() == name for parts in self.heard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        parser = hiredis.Reader(notEnoughData=MORE)
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                parser.feed(data)
                while (parts := parser.gets()) is not MORE:
                    if not await self._answer(parts, writer):
                        break
        self._writers.discard(writer)
        writer.close()

    async def _answer(self, parts: list[bytes], writer: asyncio.StreamWriter) -> bool:
        """False: the connection has ended."""
        self.heard.append(parts)
        right = self._right(parts)
        name = parts[0].upper()
        always = name in {b"HELLO", b"SCRIPT", b"CLIENT", b"SUBSCRIBE", b"SELECT"} or (
            name == b"PING" and not self.odd_pings
        )
        said: Said = right if self.odd is None or always else self.odd(parts, right)
        if isinstance(said, Late):
            await asyncio.sleep(said.seconds)
            said = said.reply
        if isinstance(said, Drip):
            for i in range(len(said.reply)):
                writer.write(said.reply[i : i + 1])
                await asyncio.sleep(said.pause_s)
            return True
        if isinstance(said, Cut):
            writer.write(said.reply)
            writer.close()
            return False
        writer.write(said)
        return True

    def _right(self, parts: list[bytes]) -> bytes:
        name, *arguments = [part.decode("utf-8", "replace") for part in parts]
        match name.upper(), arguments:
            case "PING", _:
                return PONG
            case "SCRIPT", ["LOAD", *_]:
                self.scripts.add(SHA)
                return bulk(SHA.encode())
            case "EVALSHA", [sha, *rest]:
                known = sha in self.scripts
                return integers(self.counters.evalsha(rest, time.time_ns() // 1000)) if known else NOSCRIPT
            case "GET", [key]:
                return bulk(self.values.get(key))
            case "HELLO", ["3", *_]:
                return b"-NOPROTO unsupported protocol version\r\n"
            case "HELLO", _:
                return b"*4\r\n$6\r\nserver\r\n$5\r\nredis\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n"
            case _:
                return b"+OK\r\n"


@contextlib.asynccontextmanager
async def resp_stub() -> AsyncIterator[RespStub]:
    with folder("sapi-stub-") as path:
        stub = RespStub(path / "s")
        await stub.start()
        try:
            yield stub
        finally:
            await stub.stop()


def error(text: str) -> Odd:
    return lambda _parts, _right: f"-{text}\r\n".encode()


def instead(reply: bytes) -> Odd:
    return lambda _parts, _right: reply


SCRIPTS: Final[dict[str, Odd]] = {
    "noscript": instead(NOSCRIPT),
    "loading": error("LOADING Redis is loading the dataset in memory"),
    "busy": error("BUSY Redis is busy running a script."),
    "oom": error("OOM command not allowed when used memory > 'maxmemory'."),
    "misconf": error("MISCONF Errors writing to the AOF file"),
    "noauth": error("NOAUTH Authentication required."),
    "noperm": error("NOPERM User default has no permissions"),
    "readonly": error("READONLY You can't write against a read only replica."),
    "masterdown": error("MASTERDOWN Link with MASTER is down"),
    "clusterdown": error("CLUSTERDOWN Hash slot not served"),
    "moved to nowhere": error("MOVED 3999 127.0.0.1:1"),
    "moved to rubbish": error("MOVED somewhere"),
    "ask for nowhere": error("ASK 3999 127.0.0.1:1"),
    "wrongtype": error("WRONGTYPE Operation against a key holding the wrong kind of value"),
    "an error without a name": error(""),
    "nil": instead(b"$-1\r\n"),
    "nil array": instead(b"*-1\r\n"),
    "an integer": instead(b":1\r\n"),
    "a string": instead(b"$2\r\nOK\r\n"),
    "strings in the array": instead(b"*6\r\n" + b"$1\r\n1\r\n" * 6),
    "nils in the array": instead(b"*6\r\n" + b"$-1\r\n" * 6),
    "too few": instead(b"*3\r\n:1\r\n:1\r\n:1\r\n"),
    "too many": instead(b"*9\r\n" + b":1\r\n" * 9),
    "empty": instead(b"*0\r\n"),
    "nested": instead(b"*6\r\n" + b"*1\r\n:1\r\n" * 6),
    "10000 nested": instead(b"*1\r\n" * 10_000 + b":1\r\n"),
    "1 GiB announced": instead(b"$1073741824\r\n" + b"x" * 70_000),
    "integer overflow": instead(b":99999999999999999999\r\n"),
    "a map": instead(b"%1\r\n$1\r\na\r\n:1\r\n"),
    "a push first": lambda _parts, right: b">2\r\n$7\r\nmessage\r\n$1\r\nx\r\n" + right,
    "a reply too many": lambda _parts, right: right + b":1\r\n",
    "no resp": instead(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "truncated": lambda _parts, right: right[: len(right) // 2],
    "cut in a reply": lambda _parts, right: Cut(right[: len(right) // 2]),
    "cut": lambda _parts, _right: Cut(b""),
    "silence": instead(b""),
    "late": lambda _parts, right: Late(0.05, right),
    "dripping": lambda _parts, right: Drip(right),
}
