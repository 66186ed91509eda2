"""Appending to the audit chain; the chain itself is the database's function `audit_append` (contract.md 6)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

from services.api.db import Connection
from services.runtime.statements import load

SQL: Final = load(Path(__file__).with_name("sql") / "audit.sql")


@dataclass(frozen=True, slots=True)
class Entry:
    event_id: UUID
    actor_type: str
    actor_id: str | None
    action: str
    target_type: str | None
    target_id: str | None
    ip: str | None
    request_id: str | None
    severity: str
    details: Mapping[str, object]
    instance_id: str


async def append(connection: Connection, entry: Entry) -> int:
    """Its number in the chain; an event that is there already keeps its own."""
    seq: int = await connection.value(
        SQL["append"],
        entry.event_id,
        entry.actor_type,
        entry.actor_id,
        entry.action,
        entry.target_type,
        entry.target_id,
        entry.ip,
        entry.request_id,
        entry.severity,
        json.dumps(entry.details),
        entry.instance_id,
    )
    return seq
