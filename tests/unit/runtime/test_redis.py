from __future__ import annotations

import asyncio

import pytest

from services.runtime.redis import Subscription, connect
from tests.harness.wait import eventually


class Stub:
    """A server that speaks as much RESP3 as a subscriber needs; `mute` stops its answers."""

    def __init__(self) -> None:
        self.writers: list[asyncio.StreamWriter] = []
        self.mute = False
        self.port = 0

    async def start(self, port: int = 0) -> int:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        return int(self.server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        self.server.close()
        for writer in self.writers:
            writer.close()
        self.writers.clear()

    def publish(self, text: bytes) -> None:
        for writer in self.writers:
            writer.write(b">3\r\n$7\r\nmessage\r\n$3\r\ninv\r\n$%d\r\n%b\r\n" % (len(text), text))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while line := await reader.readline():
                words = []
                for _ in range(int(line[1:])):
                    size = int((await reader.readline())[1:])
                    words.append((await reader.readexactly(size + 2))[:-2])
                if not self.mute:
                    writer.write(self._answer(words))
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def _answer(self, words: list[bytes]) -> bytes:
        name = words[0].upper()
        if name == b"HELLO":
            return b"%2\r\n$6\r\nserver\r\n$5\r\nredis\r\n$5\r\nproto\r\n:3\r\n"
        if name == b"SUBSCRIBE":
            return b">3\r\n$9\r\nsubscribe\r\n$3\r\ninv\r\n:1\r\n"
        return b"+PONG\r\n" if name == b"PING" else b"+OK\r\n"


@pytest.fixture
async def stub():
    stub = Stub()
    stub.port = await stub.start()
    yield stub
    await stub.stop()


async def test_messages_arrive_and_a_gap_is_told(stub):
    """Messages are heard; after a lost connection the subscriber hears of the gap once it listens again, not at its
    first start.
    """
    heard: list[tuple[str, str]] = []
    gaps: list[int] = []
    subscription = Subscription(
        f"redis://127.0.0.1:{stub.port}/0", ("inv",), lambda *message: heard.append(message), lambda: gaps.append(1)
    )
    subscription.start()
    await eventually(lambda: subscription.alive, 5, "it is subscribed")
    assert gaps == []
    stub.publish(b"key:abc")
    await eventually(lambda: heard == [("inv", "key:abc")], 5, "the message is heard")
    await stub.stop()
    await eventually(lambda: not subscription.alive, 5, "the loss is noticed")
    await stub.start(stub.port)
    await eventually(lambda: gaps == [1], 5, "the gap is told")
    stub.publish(b"key:def")
    await eventually(lambda: heard[-1] == ("inv", "key:def"), 5, "messages are heard again")
    await subscription.stop()


async def test_silence_is_a_loss(stub):
    """A peer that answers nothing, not even a PING, counts as lost."""
    subscription = Subscription(f"redis://127.0.0.1:{stub.port}/0", ("inv",), lambda *_: None, lambda: None)
    subscription.start()
    await eventually(lambda: subscription.alive, 5, "it is subscribed")
    stub.mute = True
    assert await eventually(lambda: not subscription.alive, 10, "the silence is noticed")
    await subscription.stop()


async def test_urls():
    """redis:// and unix:// URLs make clients that speak RESP3."""
    for url in ("redis://localhost:1/2", "unix:///tmp/none.sock"):
        client = connect(url)
        assert client.connection_pool.connection_kwargs["protocol"] == 3
        await client.aclose()
