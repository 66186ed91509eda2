"""What may be done with API keys, for their owners and for admins (contract.md 1.5): the rules here, the rows in
repository/keys.py.

A key is shown once, when it is made; only its peppered hash is kept. Each change writes its audit row in the same
transaction; the route tells the gateways after the COMMIT.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from services.api import tier_rules
from services.api.access import ROLE_SCOPES, Caller, expand, insufficient_scope
from services.api.db import Connection, Row
from services.api.errors import Detail, Problem, invalid
from services.api.models import AnswerModel, Time
from services.api.repository import keys as repository
from services.api.repository.keys import Locked, NewKey, Owner
from services.core.credentials import ID_LENGTH, SECRET_BYTES, key_hash, make_key
from services.schema.tiers import TiersDocument

if TYPE_CHECKING:
    from services.api.services import Services

SCOPES: Final = ("read", "write", "keys", "admin:read", "admin:write", "*", "admin")
ACTIVE_MAX: Final = {"free": 5, "pro": 20}  # by the owner's tier
ACTIVE_MAX_ELSE: Final = 100


class Override(AnswerModel):
    requests_per_minute: int
    burst_limit: int | None
    mode: str
    expires_at: Time | None


class ApiKey(AnswerModel):
    """A key as it is shown; never the secret."""

    id: str
    prefix: str
    name: str
    tier: str
    scopes: list[str]
    user_id: str
    status: str
    created_at: Time
    expires_at: Time | None
    last_used_at: Time | None
    revoked_at: Time | None
    replaces: str | None
    override: Override | None
    daily_limit: int | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """A key somebody asks for; `life` None: it never expires."""

    name: str
    scopes: tuple[str, ...]
    tier: str | None
    life: timedelta | None


@dataclass(frozen=True, slots=True)
class Changes:
    """None leaves a member as it is; `expires` is a tuple of one, since None is a value there."""

    name: str | None
    scopes: tuple[str, ...] | None
    expires: tuple[datetime | None] | None

    @property
    def names(self) -> list[str]:
        given = (("name", self.name), ("scopes", self.scopes), ("expiresAt", self.expires))
        return [name for name, value in given if value is not None]


@dataclass(frozen=True, slots=True)
class Keyring:
    """The keys one caller reaches, under the tiers document in force. `owner` None: everybody's, for an admin."""

    services: Services
    who: Caller
    owner: str | None
    document: TiersDocument

    async def shown(self, connection: Connection, key_id: str) -> ApiKey:
        """Raises 404 for a key that is not there, or not this owner's."""
        row = await repository.one(connection, key_id, self.owner)
        if row is None:
            raise absent()
        return view(row, self.document)

    async def create(self, connection: Connection, user_id: str, wanted: Wanted) -> tuple[str, ApiKey]:
        """The key itself, this once, and how it is shown from now on."""
        by_admin = self.owner is None
        owner = await repository.lock_owner(connection, user_id)
        if owner is None or owner.disabled:
            raise invalid(Detail("/userId", "there is no such user", "user")) if by_admin else Problem("invalid-token")
        tier = wanted.tier or owner.tier
        check_tier(self.document, owner, wanted.tier, by_admin=by_admin)
        scopes = normal(wanted.scopes)
        check_scopes(self.who, owner, scopes, by_admin=by_admin)
        await self._check_count(connection, owner)
        key, row = self._drawn(owner.id, wanted.name, tier, scopes, life=wanted.life)
        await repository.insert(connection, row)
        details = {"name": wanted.name, "tier": tier, "scopes": list(scopes), "userId": owner.id}
        await self._record(connection, "api_key.created", row.id, details)
        return key, await self.shown(connection, row.id)

    async def change(self, connection: Connection, key_id: str, wanted: Changes) -> ApiKey:
        key = await self._locked(connection, key_id)
        if key.revoked:
            raise Problem("conflict", "The key is revoked.", reason="state")
        scopes = None if wanted.scopes is None else normal(wanted.scopes)
        if scopes is not None and (more := expand(scopes) - expand(key.scopes)):
            raise invalid(Detail("/scopes", f"may only become fewer; {', '.join(sorted(more))} would be new", "scopes"))
        await repository.change(connection, key.id, wanted.name, scopes, wanted.expires)
        await self._record(connection, "api_key.updated", key.id, {"changed": wanted.names})
        return await self.shown(connection, key.id)

    async def revoke(self, connection: Connection, key_id: str, reason: str | None) -> None:
        """Again is no error: what was wanted is so."""
        key = await self._locked(connection, key_id)
        if not key.revoked:
            await repository.revoke(connection, key.id, self.who.user_id, reason)
            await self._record(connection, "api_key.revoked", key.id, {"reason": reason} if reason else {})

    async def rotate(self, connection: Connection, key_id: str, grace: timedelta) -> tuple[str, ApiKey, datetime]:
        """A successor with the same name, tier, scopes, life and override; the old key ends after `grace`: when."""
        old = await self._locked(connection, key_id)
        if old.revoked or old.expired or old.rotated:
            state = "revoked" if old.revoked else "expired" if old.expired else "rotated already"
            raise Problem("conflict", f"The key is {state}.", reason="state")
        if self.owner is not None and (more := expand(old.scopes) & ROLE_SCOPES[self.who.role] - self.who.scopes):
            raise insufficient_scope(min(more))
        end = await repository.end_soon(connection, old.id, grace)
        key, row = self._drawn(old.user_id, old.name, old.tier, old.scopes, life=old.life, replaces=old.id)
        await repository.insert(connection, row)
        await repository.carry_override(connection, old.id, row.id)
        await self._record(connection, "api_key.rotated", old.id, {"successor": row.id})
        return key, await self.shown(connection, row.id), end

    async def _locked(self, connection: Connection, key_id: str) -> Locked:
        key = await repository.lock(connection, key_id, self.owner)
        if key is None:
            raise absent()
        return key

    async def _check_count(self, connection: Connection, owner: Owner) -> None:
        limit = ACTIVE_MAX.get(owner.tier, ACTIVE_MAX_ELSE)
        if await repository.count_active(connection, owner.id) >= limit:
            text = f"There are {limit} active keys, as many as the tier {owner.tier} has."
            raise Problem("conflict", text, reason="key-limit")

    async def _record(self, connection: Connection, action: str, key_id: str, details: Mapping[str, object]) -> None:
        target = ("api_key", key_id)
        await self.services.audit.append(connection, self.who, action, target=target, details=details)

    def _drawn(
        self,
        user_id: str,
        name: str,
        tier: str,
        scopes: tuple[str, ...],
        *,
        life: timedelta | None,
        replaces: str | None = None,
    ) -> tuple[str, NewKey]:
        settings = self.services.settings
        env = "test" if settings.demo_mode else "live"
        key = make_key(env, secrets.token_bytes(ID_LENGTH), secrets.token_bytes(SECRET_BYTES))
        pepper_id, pepper = settings.api_key_peppers[0]
        digest, key_id = key_hash(pepper, key.encode()), key.split("_")[2]
        by = self.who.user_id
        return key, NewKey(key_id, user_id, digest, pepper_id, name, tier, scopes, env, by, life, replaces)


def absent() -> Problem:
    return Problem("not-found", "There is no such API key.")


def check_tier(document: TiersDocument, owner: Owner, wanted: str | None, *, by_admin: bool) -> None:
    """An admin gives any tier there is, an owner at most their own."""
    if wanted and (problem := tier_rules.unknown(document, wanted, "/tier")):
        raise problem
    if wanted and not by_admin and tier_rules.rank(document, wanted) > tier_rules.rank(document, owner.tier):
        raise Problem("forbidden", f"A key's tier is at most its owner's, {owner.tier}.")


def normal(scopes: Sequence[str]) -> tuple[str, ...]:
    """Once each, in the contract's order; the old `admin` as what it means."""
    found = set(scopes)
    if "admin" in found:
        found = found - {"admin"} | {"admin:read", "admin:write"}
    return tuple(scope for scope in SCOPES if scope in found)


def check_scopes(who: Caller, owner: Owner, scopes: tuple[str, ...], *, by_admin: bool) -> None:
    """Nobody hands out more than they hold: a key with `keys` alone must not make itself an admin's."""
    held = ROLE_SCOPES[owner.role] if by_admin else who.scopes
    wanted = expand(scopes) if "*" not in scopes else ROLE_SCOPES[owner.role] | expand(set(scopes) - {"*"})
    if more := wanted - held:
        if by_admin:
            raise invalid(Detail("/scopes", f"its owner's role does not allow {', '.join(sorted(more))}", "scopes"))
        raise insufficient_scope(min(more))


def view(row: Row, document: TiersDocument) -> ApiKey:
    expired = row["expires_at"] is not None and row["expires_at"] <= row["now"]
    status = "revoked" if row["revoked_at"] else "expired" if expired else "expiring" if row["rotated"] else "active"
    override = None
    if row["mode"] is not None:
        override = Override(
            requests_per_minute=row["requests_per_minute"],
            burst_limit=row["burst_limit"],
            mode=row["mode"],
            expires_at=row["override_expires_at"],
        )
    return ApiKey(
        id=row["id"],
        prefix=f"sk_{row['env']}_{row['id']}",
        name=row["name"],
        tier=row["tier"],
        scopes=row["scopes"],
        user_id=row["user_id"],
        status=status,
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        last_used_at=row["last_used"],
        revoked_at=row["revoked_at"],
        replaces=row["replaces"],
        override=override,
        daily_limit=tier_rules.daily_limit(document, row["tier"]),
    )
