"""What this process answers itself, and the latency class of the rest. One look-up by path; templates matter to the
gateway alone.

Health is never forwarded: an api that is away must not make the balancer look dead, or the other way round.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from services.core.routes import ROUTES, find
from services.core.verdicts import Answer, Outcome, Refusal
from services.http1.exchange import Exchange
from services.http1.tunnel import handshake

Own = Callable[[], Answer | Refusal]
READ: Final = frozenset((b"GET", b"HEAD"))
NOT_READ: Final = Refusal(
    "method-not-allowed", "method", headers=(b"Allow: GET, HEAD\r\n",), facts={"allow": ("GET", "HEAD")}
)
SLOW_PATHS: Final = frozenset(route.template.encode() for route in ROUTES if route.slow and "{" not in route.template)
SLOW_TEMPLATES: Final = any(route.slow and "{" in route.template for route in ROUTES)


class Route:
    __slots__ = ("_own",)

    def __init__(self, own: Mapping[bytes, Own]) -> None:
        self._own = dict(own)

    def route(self, x: Exchange) -> Outcome:
        path = x.path
        own = self._own.get(path)
        if own is not None:
            return own() if x.method in READ else NOT_READ
        if path in SLOW_PATHS or (SLOW_TEMPLATES and slow_template(path)):
            x.class_slow = True
        if b"upgrade" in x.special and may_upgrade(path):
            return handshake(x)
        return None


def slow_template(path: bytes) -> bool:
    route = find(path)
    return route is not None and route.slow


def may_upgrade(path: bytes) -> bool:
    route = find(path)
    return route is not None and route.upgrade
