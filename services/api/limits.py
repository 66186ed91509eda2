"""What limits an identifier, and how much of it is used: a peek by the gateways' own script, which changes no
counter.

Tier and override are found as the gateway finds them (contract.md section 5): the key's or user's own tier,
`anonymousTier` for an address, `defaultTier` for a name the document lacks; an override of the key, then its owner,
then the address, then its longest prefix. Called by routes/admin_limits.py.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast
from uuid import UUID

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from services.api.db import Connection
from services.api.repository import keys, overrides, users
from services.api.repository.overrides import Override
from services.core.identity import network_identifier
from services.core.limits import CONCURRENCY, GCRA, LOG, SLIDING, Limit, kept_as, left, wait_ms
from services.runtime.limit_script import PEEK, SCRIPT, Verdict, limit_key, read_reply, script_call
from services.schema.tiers import OVERRIDE_NAMES, Policy, TiersDocument

MINUTE_S: Final = 60
BURST_S: Final = 1
KEY_ID: Final = re.compile("[0-9a-z]{10}")


@dataclass(frozen=True, slots=True)
class Subject:
    """Who is limited. `owner` is `user:<uuid>` of a key's owner; `tier_name` what the store says, not yet looked up
    in the document.
    """

    identifier: str
    tier_name: str
    source: str  # key, user, anonymous
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Applied:
    """A policy that holds for the subject."""

    name: str
    window_s: int
    limit: Limit


def canonical(text: str) -> str | None:
    """The identifier as the limiter writes it: `key:<id>`, `user:<uuid>`, `ip:<address>` (IPv6 as its /64); None for
    anything else.

    An IPv6 address may stand without `/64`, since a path cannot hold the slash.
    """
    kind, _, name = text.partition(":")
    if kind == "key":
        return text if KEY_ID.fullmatch(name) else None
    if kind == "user":
        return f"user:{name}" if _is_uuid(name) else None
    try:
        return network_identifier(str(ipaddress.ip_address(name.removesuffix("/64")))) if kind == "ip" else None
    except ValueError:
        return None


async def subject_of(connection: Connection, identifier: str, document: TiersDocument) -> Subject | None:
    """None: there is no such key or user."""
    kind, _, name = identifier.partition(":")
    if kind == "key":
        row = await keys.one(connection, name, None)
        return Subject(identifier, row["tier"], "key", f"user:{row['user_id']}") if row is not None else None
    if kind == "user":
        user = await users.by_id(connection, name)
        return Subject(identifier, user.tier, "user") if user is not None else None
    return Subject(identifier, document.spec.anonymous_tier, "anonymous")


async def override_of(connection: Connection, subject: Subject) -> Override | None:
    """The first hit among those in force."""
    address = subject.identifier.removeprefix("ip:") if subject.source == "anonymous" else ""
    names = [subject.identifier, subject.owner, f"ip:{address.removesuffix('/64')}"]
    found = await overrides.candidates(connection, names, prefixes=bool(address))
    return chosen(found, names, address)


def chosen(found: Sequence[Override], names: Sequence[str], address: str) -> Override | None:
    """By name in order; else the longest prefix that holds the address."""
    by_name = {override.identifier: override for override in found}
    exact = next((by_name[name] for name in names if name in by_name), None)
    if exact is not None or not address:
        return exact
    ip = ipaddress.ip_address(address.removesuffix("/64"))
    ranges = [(network, o) for o in found if (network := _network(o.identifier)) is not None]
    inside = [(network.prefixlen, o) for network, o in ranges if network.version == ip.version and ip in network]
    return max(inside, key=lambda pair: pair[0])[1] if inside else None


def applied(document: TiersDocument, subject: Subject, override: Override | None) -> tuple[str, str, list[Applied]]:
    """Tier in force, where it comes from, and the policies: the override's in place of the minute's and, if given,
    the burst's.
    """
    by_name = {tier.name: tier for tier in document.spec.tiers}
    known = subject.tier_name in by_name
    tier = by_name[subject.tier_name if known else document.spec.default_tier]
    own = _own(override) if override is not None else []
    replaced = {policy.window_s for policy in own}
    rest = [_of(policy) for policy in tier.policies if policy.mode != "off" and policy.window not in replaced]
    leased = [] if tier.concurrency is None else [_leases(tier.name, tier.concurrency)]
    return tier.name, subject.source if known else "default", [*own, *rest, *leased]


async def peek(redis: Redis, identifier: str, policies: Sequence[Applied]) -> Verdict | None:
    """The counters now; None for a reply of another shape. Raises RedisError."""
    live = [p for p in policies if p.limit.quota > 0]  # a quota of 0 admits nothing and has no counter
    call = script_call(
        PEEK, 1, [limit_key(identifier, p.name, p.limit.algorithm) for p in live], [p.limit for p in live]
    )
    try:
        reply = await _evalsha(redis, call)
    except NoScriptError:
        await redis.script_load(SCRIPT.decode())
        reply = await _evalsha(redis, call)
    return read_reply(reply, len(live))


def rows(policies: Sequence[Applied], verdict: Verdict) -> list[dict[str, Any]]:
    """`policies` of the answer, in their order."""
    readings = iter(verdict.readings)
    found = []
    for policy in policies:
        limit = policy.limit
        row = {"name": policy.name, "quota": limit.quota, "window": policy.window_s, "algorithm": limit.algorithm}
        row["mode"] = "enforce" if limit.enforced else "shadow"
        if limit.quota == 0:
            row |= {"estimate": 0, "remaining": 0, "retryAfter": None}
        else:
            reading = next(readings)
            remaining = left(limit, reading, verdict.us)
            wait = wait_ms(limit, reading, verdict.us, 1)
            never = 1 if limit.algorithm == CONCURRENCY else None  # what is in flight may end at any time
            retry = never if wait is None else -(-wait // 1000)
            row |= {"estimate": limit.quota - remaining, "remaining": remaining, "retryAfter": retry}
        found.append(row)
    return found


async def forget(redis: Redis, identifier: str, document: TiersDocument) -> None:
    """Every counter the identifier may have, by exact name. Raises RedisError."""
    spec = document.spec
    routes = [rule.policy.name for rule in spec.routes if rule.policy is not None]
    names = {p.name for tier in spec.tiers for p in tier.policies} | {*routes, *OVERRIDE_NAMES}
    names.add(spec.credential_failures.name)
    await redis.unlink(*(limit_key(identifier, name, kept) for name in sorted(names) for kept in ("", LOG)))


async def _evalsha(redis: Redis, call: tuple[str, ...]) -> object:
    sha, count, *rest = call
    return await cast("Awaitable[object]", redis.evalsha(sha, int(count), *rest))


def _own(override: Override) -> list[Applied]:
    enforced = override.mode == "enforce"
    quota = override.requests_per_minute
    minute = Limit(kept_as(SLIDING, quota), quota, MINUTE_S * 1000, enforced)
    found = [Applied("override", MINUTE_S, minute)]
    if override.burst_limit is not None:
        found.append(Applied("override-burst", BURST_S, Limit(GCRA, override.burst_limit, BURST_S * 1000, enforced)))
    return found


def _leases(tier: str, quota: int) -> Applied:
    return Applied(f"{tier}-concurrency", 0, Limit(CONCURRENCY, quota, 1000))


def _of(policy: Policy) -> Applied:
    limit = Limit(kept_as(policy.algorithm, policy.quota), policy.quota, policy.window * 1000, policy.mode == "enforce")
    return Applied(policy.name, policy.window, limit)


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def _network(identifier: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    kind, _, text = identifier.partition(":")
    if kind != "ip" or "/" not in text:
        return None
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
