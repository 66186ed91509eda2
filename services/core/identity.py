"""The identity header between gateway and api, the CSRF token, and the names callers are limited by (contract.md 2.1,
2.3, 4, 5).

`X-Gateway-Identity: v1.<base64url JSON>.<base64url HMAC-SHA256>`; the signature covers everything before its dot. The
gateway signs once per identity and half minute, the api verifies. The first secret signs, all verify, so secrets are
rotated without a gap.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import hmac
import ipaddress
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

VERSION: Final = b"v1"
LIFE_S: Final = 60  # exp = now + 60 s
RENEW_S: Final = 30  # re-signed each half minute
GRACE_S: Final = 30  # accepted until exp + 30 s: clocks of two machines differ
ADDRESSES_KEPT: Final = 10_000  # parsing one costs as much as the rest of a refusal
CSRF_BYTES: Final = 16  # 128 bits are enough for a token that is useless without the cookie


@dataclass(frozen=True, slots=True)
class Claims:
    """Who the gateway found. `kid` for a key, `sid` (SHA-256 of the token, hex) for a session; `via` is key, bearer
    or cookie.
    """

    sub: str
    kid: str
    sid: str
    via: str
    role: str
    tier: str
    scp: tuple[str, ...]
    exp: int


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _unbase64url(text: bytes) -> bytes:
    return base64.b64decode(text + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)


def sign(claims: Claims, secret: bytes) -> bytes:
    """The header's value."""
    body = {name: getattr(claims, name) for name in ("sub", "kid", "sid", "via", "role", "tier", "scp", "exp")}
    signed = VERSION + b"." + _base64url(json.dumps(body, separators=(",", ":")).encode())
    return signed + b"." + _base64url(hmac.digest(secret, signed, "sha256"))


def verify(value: bytes, secrets: Sequence[bytes], now_s: float) -> Claims | None:
    """The claims if one of the secrets signed them and they are not older than exp + 30 s."""
    signed, dot, signature = value.rpartition(b".")
    version, second, body = signed.partition(b".")
    if not dot or not second or version != VERSION:
        return None
    try:
        mac = _unbase64url(signature)
        if not any(hmac.compare_digest(hmac.digest(secret, signed, "sha256"), mac) for secret in secrets):
            return None
        claims = _claims(json.loads(_unbase64url(body)))
    except (binascii.Error, ValueError, KeyError, TypeError):
        return None
    return claims if now_s <= claims.exp + GRACE_S else None


def unverified(value: bytes) -> Claims | None:
    """The claims as they stand, signed by whomever: for what may be wrong without harm, such as spreading load."""
    try:
        return _claims(json.loads(_unbase64url(value.split(b".")[1])))
    except (binascii.Error, ValueError, KeyError, TypeError, IndexError):
        return None


def _claims(body: dict[str, object]) -> Claims:
    sub, kid, sid, via, role, tier = (body[name] for name in ("sub", "kid", "sid", "via", "role", "tier"))
    texts = (sub, kid, sid, via, role, tier)
    scp, exp = body["scp"], body["exp"]
    if not isinstance(scp, list) or not isinstance(exp, int) or not all(isinstance(t, str) for t in (*texts, *scp)):
        raise TypeError("a claim has the wrong type")
    return Claims(str(sub), str(kid), str(sid), str(via), str(role), str(tier), tuple(scp), exp)


def csrf_token(secret: bytes, sid: str) -> str:
    """The session's X-CSRF-Token: base64url of the first 128 bits of HMAC-SHA256(identity secret, "csrf:" + session
    id).
    """
    return _base64url(hmac.new(secret, b"csrf:" + sid.encode(), hashlib.sha256).digest()[:CSRF_BYTES]).decode()


@functools.lru_cache(maxsize=ADDRESSES_KEPT)
def network_identifier(address: str) -> str:
    """What an address is limited as: `ip:<IPv4>`, `ip:<IPv6>/64` (a household has a /64), a mapped IPv4 as IPv4;
    other text as it stands.
    """
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return f"ip:{address}"
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return f"ip:{ip.ipv4_mapped}"
        return f"ip:{ipaddress.IPv6Network((int(ip) >> 64 << 64, 64))}"
    return f"ip:{ip}"
