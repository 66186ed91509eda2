"""Where a request should go by who sent it: to a version by LB_VERSIONS, to one endpoint by LB_AFFINITY.

`pick` asks here first when either is set; what comes back empty (no such version, everybody busy, no key) is picked as
any other request. The identifier is read from the gateway's identity header without its signature: it spreads load, it
opens nothing. The gateway removes cookies, so `cookie:` serves clients that reach a balancer directly.
"""

from __future__ import annotations

from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie

from services.balancer.fleet import Fleet
from services.core.affinity import Shares, preferred, version_of
from services.core.balancing import Target
from services.core.identity import unverified
from services.http1.exchange import Exchange

Key = Callable[[Exchange], bytes]  # empty: there is none


class Placing:
    """`names`: header fields that must be seen for it."""

    def __init__(self, fleet: Fleet, versions: Shares, affinity: str) -> None:
        self._fleet, self._versions = fleet, versions
        kind, _, name = affinity.partition(":")
        self._key = key_reader(kind, name)
        self.names = (b"x-gateway-identity", b"cookie" if kind == "cookie" else name.lower().encode())

    def place(self, x: Exchange, first: float, second: float) -> Target | None:
        now = x.now
        chooser = self._fleet.chooser
        if self._versions:
            chooser = self._fleet.groups[version_of(identifier(x) or x.request_id, self._versions)]
        if self._key is not None and (key := self._key(x)):
            found = preferred(key, chooser.targets, now, x.excluded)
            if found is not None:
                return found
        if not self._versions:
            return None
        found = chooser.pick(now, first, second, x.excluded)
        return None if found in x.excluded else found


def key_reader(kind: str, name: str) -> Key | None:
    if kind == "identifier":
        return identifier
    field = name.lower().encode()
    if kind == "header":
        return lambda x: x.special.get(field, b"")
    return (lambda x: cookie(x, name)) if kind == "cookie" else None


def identifier(x: Exchange) -> bytes:
    """`key:…`, `user:…`, `ip:…`, as the gateway limits by."""
    value = x.special.get(b"x-gateway-identity")
    claims = unverified(value) if value is not None else None
    if claims is not None:
        return f"key:{claims.kid}".encode() if claims.kid else f"user:{claims.sub}".encode()
    address = x.special.get(b"x-client-ip", b"")
    return b"ip:" + address if address else b""


def cookie(x: Exchange, name: str) -> bytes:
    try:
        found = SimpleCookie(x.special.get(b"cookie", b"").decode("latin-1")).get(name)
    except CookieError:
        return b""
    return found.value.encode("latin-1") if found is not None else b""
