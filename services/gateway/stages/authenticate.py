"""Who is asking: X-API-Key, else Bearer (a key or a session), else the session cookie, else nobody (contract.md
section 4).

Sits before `limit`, which counts by identity and tier, and after all that needs no store. A hit in a cache is a few
dictionary look-ups; a miss parks the exchange on a single-flight look-up. A bad credential is 401, never "anonymous":
a client with a mistyped key must notice. It costs its network one unit of `credential-ip`; when that is used up, all
of the network's credentials are refused (429).

One exception: a stale *cookie* on a page of the dashboard or on a log-in route counts as none, or a browser could
never log in again.
"""

from __future__ import annotations

import time
from typing import Final, Protocol

from services.core.identity import network_identifier
from services.core.verdicts import PARKED, Outcome, Refusal
from services.gateway.identity import Denied, Identity, Lru
from services.gateway.keys import Keys
from services.gateway.sessions import Sessions
from services.gateway.tier_book import TierBook
from services.http1.exchange import Exchange
from services.http1.runner import resume
from services.runtime.metrics import Counter

VIAS: Final = ("key", "bearer", "cookie", "none")
COOKIES: Final = (b"__Host-scalable_session", b"scalable_session")
FORGIVING: Final = frozenset({"other", "/api/v1/auth/login", "/api/v1/auth/link", "/api/v1/admin/login"})
ADDRESSES_KEPT: Final = 50_000
REALM: Final = b'WWW-Authenticate: Bearer realm="scalable-api", error="invalid_token"\r\n'

BAD_KEY: Final = Refusal("invalid-api-key", "credential", headers=(REALM,))
BAD_TOKEN: Final = Refusal("invalid-token", "credential", headers=(REALM,))
BUSY: Final = Refusal(
    "dependency-unavailable", "lookups", "Too many look-ups are under way.", 1, {"dependency": "postgres"}
)
NO_POSTGRES: Final = Refusal("dependency-unavailable", "postgres", retry_after_s=1, facts={"dependency": "postgres"})
NO_REDIS: Final = Refusal("dependency-unavailable", "redis", retry_after_s=1, facts={"dependency": "redis"})
REFUSALS: Final = {"invalid-api-key": BAD_KEY, "invalid-token": BAD_TOKEN}

Credential = tuple[str, str, bytes]  # via (key, bearer, cookie), kind (key, session, rubbish), text


class CredentialGuard(Protocol):
    """The policy `credential-ip`, by network: the limiter."""

    def blocked(self, network: str) -> Refusal | None:
        """Has it used up its failures?"""
        ...

    def failed(self, network: str) -> None:
        """One more failure."""
        ...


class Authenticate:
    def __init__(
        self, stores: tuple[Keys, Sessions], guard: CredentialGuard, book: TierBook, results: Counter, secret: bytes
    ) -> None:
        self._keys, self._sessions = stores
        self._guard, self._book, self._secret = guard, book, secret
        self._anonymous: Lru[Identity] = Lru(ADDRESSES_KEPT)
        self._ok = {via: results.cell(via, "ok") for via in VIAS}
        self._results = {
            (via, result): results.cell(via, result) for via in VIAS for result in ("bad", "blocked", "unavailable")
        }

    def __call__(self, x: Exchange) -> Outcome:
        credential = credential_of(x)
        if credential is None:
            return self._admit(x, self.anonymous(x.client.address), "none")
        via, kind, text = credential
        blocked = self._guard.blocked(x.client.network)
        if blocked is not None:
            self._results[via, "blocked"].n += 1
            return blocked
        now = x.now
        if kind == "key":
            found = self._keys.get(text, now)
        elif kind == "session":
            found = self._sessions.get(text, via, now)
        else:
            return self._deny(x, via, Denied("invalid-token"))
        if found is None:
            return self._ask(x, via, kind, text)
        return self._conclude(x, via, found)

    def peek(self, x: Exchange) -> Identity | None:
        """Who asks, if that is known without a store and without cost; for `shed`, which stands before."""
        credential = credential_of(x)
        if credential is None:
            return self.anonymous(x.client.address)
        via, kind, text = credential
        if kind == "key":
            return self._keys.peek(text)
        return self._sessions.peek(text, via) if kind == "session" else None

    def anonymous(self, address: str) -> Identity:
        """The identity of an address without a credential, shared by its network (an IPv6 /64)."""
        key = address.encode()
        identity = self._anonymous.get(key)
        tier = self._book.anonymous
        if identity is None or identity.tier != tier:
            identity = Identity(network_identifier(address), tier, "anonymous")
            self._anonymous.put(key, identity)
        return identity

    def _ask(self, x: Exchange, via: str, kind: str, text: bytes) -> Outcome:
        ticket = x.ticket

        def heard(found: Identity | Denied) -> None:
            if x.ticket == ticket:  # else it was answered meanwhile
                resume(x, ticket, self._conclude(x, via, found))

        if kind == "key":
            return PARKED if self._keys.ask(text, heard) else BUSY
        if self._sessions.ask(text, via, heard):
            return PARKED
        return self._conclude(x, via, self._sessions.last_good(text, via, x.now))

    def _conclude(self, x: Exchange, via: str, found: Identity | Denied) -> Outcome:
        if isinstance(found, Denied):
            return self._deny(x, via, found)
        return self._admit(x, found, via)

    def _admit(self, x: Exchange, identity: Identity, via: str) -> Outcome:
        x.identity = identity
        if identity.claims is not None and x.now >= identity.signed_until:
            identity.sign(x.now, time.time(), self._secret)
        own = x.route.criticality
        x.criticality = own if own is not None else self._book.criticality(identity.tier)
        self._ok[via].n += 1
        return None

    def _deny(self, x: Exchange, via: str, denied: Denied) -> Outcome:
        if denied.slug == "dependency-unavailable":
            self._results[via, "unavailable"].n += 1
            return NO_POSTGRES if _is_key(x, via) else NO_REDIS
        self._results[via, "bad"].n += 1
        if via == "cookie" and x.route.template in FORGIVING:
            return self._admit(x, self.anonymous(x.client.address), "none")
        self._guard.failed(x.client.network)
        return REFUSALS[denied.slug]


def credential_of(x: Exchange) -> Credential | None:
    """The credential that counts, by precedence; None: there is none."""
    special = x.special
    key = special.get(b"x-api-key")
    if key is not None:
        return ("key", "key", key)
    authorization = special.get(b"authorization")
    if authorization is not None:
        scheme, _, text = authorization.partition(b" ")
        text = text.strip()
        if scheme.lower() != b"bearer":
            return ("bearer", "rubbish", text)
        return ("bearer", kind_of(text), text)
    cookie = special.get(b"cookie")
    if cookie is not None and b"scalable_session" in cookie:
        token = session_cookie(cookie)
        if token is not None:
            return ("cookie", "session", token)
    return None


def kind_of(text: bytes) -> str:
    if text.startswith(b"sk_"):
        return "key"
    return "session" if text.startswith(b"ses_") else "rubbish"


def session_cookie(cookie: bytes) -> bytes | None:
    """Our session among the cookies; the `__Host-` one first."""
    pairs = dict(part.strip().partition(b"=")[::2] for part in cookie.split(b";"))
    return next((pairs[name].strip(b'"') for name in COOKIES if name in pairs), None)


def _is_key(x: Exchange, via: str) -> bool:
    return via == "key" or (via == "bearer" and b"sk_" in x.special.get(b"authorization", b""))
