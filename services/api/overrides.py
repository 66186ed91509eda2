"""Overrides: one identifier's own limit instead of its tier's, in force on every gateway within two seconds.

The row, its audit row and the notice belong together: both rows in one transaction, the notice after COMMIT (the
database's trigger says it too). Called by routes/admin_limits.py.
"""

from __future__ import annotations

import ipaddress
from typing import Final

from services.api import limits
from services.api.access import Caller
from services.api.audit import Audit
from services.api.db import Connection, DuplicateError
from services.api.errors import Detail, Problem, invalid
from services.api.models import rfc3339
from services.api.repository import overrides as table
from services.api.repository.overrides import NewOverride, Override

IDENTIFIER_MAX: Final = 200


def canonical(text: str) -> str:
    """The identifier as the gateways compare it; raises 400 for what is none. Ranges `ip:10.0.0.0/8` are allowed
    here.
    """
    kind, _, name = text.partition(":")
    found = limits.canonical(text)
    if kind == "ip" and "/" in name:
        try:
            found = f"ip:{ipaddress.ip_network(name, strict=False)}"
        except ValueError:
            found = None
    if found is None:
        text = "must be key:<id>, user:<uuid>, ip:<address> or ip:<range>"
        raise invalid(Detail("/identifier", text, "identifier"))
    return found


async def create(connection: Connection, audit: Audit, new: NewOverride, who: Caller) -> Override:
    """Raises conflict when one is in force."""
    try:
        async with connection.savepoint():
            made = await table.create(connection, new, who.user_id)
    except DuplicateError:
        raise _taken() from None
    await audit.append(connection, who, "rate_limit.override_created", target=_target(made), details=_details(made))
    return made


async def change(
    connection: Connection, audit: Audit, override_id: str, new: NewOverride, who: Caller
) -> tuple[Override, Override]:
    """Before and after."""
    before = await table.lock(connection, override_id)
    if before is None:
        raise absent()
    try:
        async with connection.savepoint():
            after = await table.change(connection, override_id, new)
    except DuplicateError:
        raise _taken() from None
    await audit.append(connection, who, "rate_limit.override_changed", target=_target(after), details=_details(after))
    return before, after


async def delete(connection: Connection, audit: Audit, override_id: str, who: Caller) -> Override:
    before = await table.lock(connection, override_id)
    if before is None:
        raise absent()
    await table.delete(connection, override_id)
    await audit.append(connection, who, "rate_limit.override_deleted", target=_target(before), details=_details(before))
    return before


def absent() -> Problem:
    return Problem("not-found", "There is no such override.")


def _taken() -> Problem:
    return Problem("conflict", "The identifier has an override already.", reason="duplicate")


def _target(override: Override) -> tuple[str, str]:
    return "rate_limit_override", override.id


def _details(override: Override) -> dict[str, object]:
    return {
        "identifier": override.identifier,
        "requestsPerMinute": override.requests_per_minute,
        "burstLimit": override.burst_limit,
        "mode": override.mode,
        "reason": override.reason,
        "expiresAt": rfc3339(override.expires_at) if override.expires_at else None,
    }
