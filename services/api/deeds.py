"""An admin's deed that has no transaction of its own: its audit row is written first, so nothing happens unrecorded
(contract.md 1.6).
"""

from __future__ import annotations

from collections.abc import Mapping

from services.api.access import Caller
from services.api.services import Services


async def recorded(
    services: Services,
    who: Caller,
    action: str,
    target: tuple[str, str],
    details: Mapping[str, object] | None = None,
) -> None:
    """Raises DatabaseError, and the deed must not follow."""
    async with services.db.transaction() as connection:
        await services.audit.append(connection, who, action, target=target, details=details)
