"""Who asks for what in the demo: 70 % lists, 20 % items, 5 % writes, 5 % the external dependency, over four tiers.

Anonymous load comes from 127.0.0.9 where the system has that address (Linux), so that the user's own curl keeps its
quota.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Mapping
from typing import Final

from services.cli.traffic.connection import request
from services.cli.traffic.streams import Stream

ANONYMOUS_SOURCE: Final = "127.0.0.9" if sys.platform == "linux" else None
ANONYMOUS_RPS: Final = 1.2  # below its 100 a minute, so that steady load is not refused
ITEMS: Final = 100  # demo rows
SHARE: Final[Mapping[str, float]] = {"free": 0.2, "pro": 0.3, "enterprise": 0.5}  # of what has a key
Draw = Callable[[], float]


def headers(key: str | None) -> dict[str, str]:
    base = {"host": "localhost", "accept": "application/json", "user-agent": "scalable-api-demo"}
    return base if key is None else {**base, "x-api-key": key}


def listing(key: str | None, draw: Draw = random.random) -> bytes:
    return request("GET", f"/api/v1/resources?page={1 + int(draw() * 5)}&limit=10", headers(key))


def item(key: str | None, draw: Draw = random.random) -> bytes:
    return request("GET", f"/api/v1/resources/{1 + int(draw() * ITEMS)}", headers(key))


def write(key: str, number: int) -> bytes:
    body = json.dumps({"name": f"demo {number}", "type": "demo", "content": "written by the demo"}).encode()
    return request("POST", "/api/v1/resources", {**headers(key), "content-type": "application/json"}, body)


def external(key: str | None) -> bytes:
    return request("GET", "/api/v1/external", headers(key))


def mixed(key: str, number: int, draw: Draw = random.random) -> bytes:
    """One request of the usual mix."""
    chosen = draw()
    if chosen < 0.70:
        return listing(key, draw)
    if chosen < 0.90:
        return item(key, draw)
    return write(key, number) if chosen < 0.95 else external(key)


def reading(key: str, draw: Draw = random.random) -> bytes:
    """Reads alone: what a retry may repeat."""
    return listing(key, draw) if draw() < 0.7 else item(key, draw)


def steady(keys: Mapping[str, str], rate: float) -> list[Stream]:
    """`rate` requests a second over the four tiers."""
    anonymous = min(ANONYMOUS_RPS, rate / 4)
    streams = [Stream(anonymous, lambda _: listing(None), ANONYMOUS_SOURCE)]
    for tier, share in SHARE.items():
        key = keys[tier]
        streams.append(Stream((rate - anonymous) * share, lambda n, key=key: mixed(key, n)))  # type: ignore[misc]
    return streams


def reads(keys: Mapping[str, str], rate: float) -> list[Stream]:
    """Reads of the two big tiers: their quotas hold it."""
    return [
        Stream(rate * 0.4, lambda _: reading(keys["pro"])),
        Stream(rate * 0.6, lambda _: reading(keys["enterprise"])),
    ]
