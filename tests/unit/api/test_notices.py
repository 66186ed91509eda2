from __future__ import annotations

import asyncio

from structlog.testing import capture_logs

from services.api.notices import Notices, Relay
from services.runtime.redis import connect


class Heard(Notices):
    def __init__(self) -> None:
        self.said: list[str] = []

    async def say(self, *payloads: str) -> None:
        self.said += payloads


async def test_a_lost_notice_fails_nobody() -> None:
    """Redis away: logged, the request goes on; the gateways' cache times bound the harm."""
    with capture_logs() as lines:
        await Notices(connect("redis://127.0.0.1:1/0")).say("key:x", "key:y")
    assert [(line["event"], line["payloads"]) for line in lines] == [("notice not sent", ("key:x", "key:y"))]


async def test_relay_repeats_what_it_hears() -> None:
    """In order; the database being away only means that there is nothing to hear."""
    notices = Heard()
    relay = Relay("postgresql://nobody@127.0.0.1:1/none", notices)
    relay.start()
    for n in range(3):
        relay._hear(None, 0, "inv", f"user:{n}")
    while len(notices.said) < 3:  # noqa: ASYNC110  # the queue is the relay's own
        await asyncio.sleep(0)
    await relay.stop()
    assert notices.said == ["user:0", "user:1", "user:2"]
    assert not relay.alive
