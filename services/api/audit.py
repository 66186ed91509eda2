"""Who did what, in the transaction of the deed: if the row cannot be appended, the deed does not happen
(reliability.md 6).

Severity is set per action in one table, never guessed from a name. Callers: every route that changes something.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from uuid import UUID, uuid4

from services.api.repository import audit as repository
from services.api.repository.audit import Entry

if TYPE_CHECKING:
    from services.api.access import Caller
    from services.api.db import Connection
    from services.api.metrics import ApiMetrics

SEVERITY: Final[Mapping[str, str]] = {
    "user.login": "info",
    "user.login_failed": "notice",
    "user.logout": "info",
    "user.password_changed": "notice",
    "api_key.created": "info",
    "api_key.updated": "info",
    "api_key.revoked": "notice",
    "api_key.rotated": "info",
    "rate_limit.override_created": "notice",
    "rate_limit.override_changed": "notice",
    "rate_limit.override_deleted": "notice",
    "circuit_breaker.forced": "notice",
    "cache.cleared": "notice",
    "security.brute_force": "security",
    "admin.action": "notice",  # any other admin write
}


class Audit:
    def __init__(self, instance: str, metrics: ApiMetrics) -> None:
        self._instance = instance
        self._metrics = metrics

    async def append(
        self,
        connection: Connection,
        who: Caller,
        action: str,
        *,
        target: tuple[str, str] | None = None,
        details: Mapping[str, object] | None = None,
        event_id: UUID | None = None,
    ) -> int:
        """`target` is (type, id); `details` at most 8 KiB as JSON. An `action` that is not in SEVERITY is a fault of
        ours (KeyError).
        """
        actor_type, actor_id = actor(who)
        entry = Entry(
            event_id or uuid4(),
            actor_type,
            actor_id,
            action,
            target[0] if target else None,
            target[1] if target else None,
            valid_ip(who.address),
            who.request_id,
            SEVERITY[action],
            details or {},
            self._instance,
        )
        seq = await repository.append(connection, entry)
        self._metrics.audit_appends.inc(action)
        return seq


def actor(who: Caller) -> tuple[str, str | None]:
    if who.key_id:
        return "key", who.key_id
    return ("user", who.user_id) if who.identity else ("anonymous", None)


def valid_ip(address: str) -> str | None:
    try:
        return str(ipaddress.ip_address(address.partition("%")[0]))
    except ValueError:
        return None
