"""Who a request comes from, once known: everything later stages need, worked out once per identity and not per request.

An `Identity` lives in a cache (keys, sessions, addresses) and is shared by all its requests: the signed header line,
the name it is limited under, its tier, and what the limiter keeps for it (`limiter`: the constant bytes of its
command). `authenticate` puts one into `x.identity`, for anonymous requests too, so no later stage asks "is there
one?".
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from services.core.identity import LIFE_S, RENEW_S, Claims, sign

HEADER: Final = b"X-Gateway-Identity: "
VIEW: Final = frozenset({"admin:read", "admin:write", "admin", "*"})

V = TypeVar("V")


class Identity:
    """`identifier` is what the limiter counts; `header` a complete line, empty for anonymous; times are monotonic
    seconds.
    """

    __slots__ = (
        "claims",
        "ends",
        "header",
        "identifier",
        "limiter",
        "owner",
        "signed_until",
        "stale_of",
        "tier",
        "tier_source",
        "views",
    )

    def __init__(self, identifier: str, tier: str, tier_source: str, claims: Claims | None = None) -> None:
        self.identifier = identifier  # key:<id> · user:<uuid> · ip:<network>
        self.tier = tier  # a name; the tiers document may lack it
        self.tier_source = tier_source  # key · user · anonymous
        self.claims = claims
        self.owner = f"user:{claims.sub}" if claims is not None and claims.sub else ""
        # may it see what operators see: role viewer or admin, and the scope for it
        self.views = claims is not None and claims.role in {"viewer", "admin"} and not VIEW.isdisjoint(claims.scp)
        self.ends: float = float("inf")  # when the credential itself expires
        self.header = b""
        self.signed_until = 0.0
        self.limiter: Any = None  # the limiter's own, dropped with the identity
        self.stale_of = ""  # the dependency whose absence keeps this answer in use

    @property
    def anonymous(self) -> bool:
        return self.claims is None

    def sign(self, now: float, wall: float, secret: bytes) -> None:
        """Make the header's line anew; due when `now` has reached `signed_until`. Anonymous has none."""
        if self.claims is not None:
            self.claims = _renewed(self.claims, int(wall) + LIFE_S)
            self.header = HEADER + sign(self.claims, secret) + b"\r\n"
            self.signed_until = now + RENEW_S


def _renewed(old: Claims, exp: int) -> Claims:
    return Claims(old.sub, old.kid, old.sid, old.via, old.role, old.tier, old.scp, exp)


@dataclass(frozen=True, slots=True)
class Denied:
    """A credential that a store has denied; kept for a few seconds so that repeating it costs nothing."""

    slug: str


class Lru(Generic[V]):
    """A mapping that forgets what was used longest ago."""

    __slots__ = ("_items", "_most")

    def __init__(self, most: int) -> None:
        self._items: OrderedDict[bytes, V] = OrderedDict()
        self._most = most

    def get(self, key: bytes) -> V | None:
        value = self._items.get(key)
        if value is not None:
            self._items.move_to_end(key)
        return value

    def put(self, key: bytes, value: V) -> None:
        items = self._items
        items[key] = value
        items.move_to_end(key)
        if len(items) > self._most:
            items.popitem(last=False)

    def pop(self, key: bytes) -> V | None:
        return self._items.pop(key, None)

    def values(self) -> list[V]:
        return list(self._items.values())

    def items(self) -> list[tuple[bytes, V]]:
        return list(self._items.items())

    def clear(self) -> None:
        self._items.clear()

    def __len__(self) -> int:
        return len(self._items)
