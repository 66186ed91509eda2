"""`scalable-api breakers`: which are open, and on a local instance the admin's hand on them.

The list comes from status, on both targets alike: there only those that are not closed are named. Forcing one goes
through the api's admin route (contract.md §1.6), which this version reaches on a local instance only.
"""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

from services.cli import instance as instances
from services.cli.api_client import ApiClient
from services.cli.errors import DONE, FAILED
from services.cli.instance import refused
from services.cli.output import Format, clean, emit, say, table
from services.cli.targets.kubectl import Where
from services.cli.targets.target import Target, the_one


def listing(target: Target, form: Format, name: str | None) -> int:
    """Exit 1 while one is open."""
    found = the_one(target, name).status.circuits
    if form in (Format.json, Format.yaml):
        emit(form, "BreakersReport", found.model_dump(mode="json", by_alias=True, exclude_none=True))
        return FAILED if found.open else DONE
    if found.items:
        rows = [
            [c.name, c.component, c.state, c.pods, c.since or "-", c.reason or "-", c.retry_at or "-"]
            for c in found.items
        ]
        say(*table(["NAME", "COMPONENT", "STATE", "PROCESSES", "SINCE", "REASON", "RETRY AT"], rows))
    say(f"{found.open} open, {found.half_open} half-open of {found.total} in {found.observed_pods} processes")
    return FAILED if found.open else DONE


def force(where: Where, name: str, state: str, *, ttl_s: int, reason: str) -> int:
    """Hold it `open` or `closed` for a while."""
    body = {"state": state, "ttlSeconds": ttl_s, "reason": reason}
    answer = asked(where, "PUT", name, "force", body)
    say(
        f"breaker {clean(name)} {clean(answer['state'])} until {clean(answer['until'])} in {answer['processes']} processes"
    )
    return DONE


def reset(where: Where, name: str) -> int:
    """Close it everywhere and end what was forced."""
    asked(where, "DELETE", name, "force")
    answer = asked(where, "POST", name, "reset")
    say(f"breaker {clean(name)} {clean(answer['state'])}")
    return DONE


def asked(where: Where, method: str, name: str, verb: str, body: dict[str, Any] | None = None) -> Any:
    if instances.as_plugin() or where != Where():
        why = "it goes through the api's admin route, which this version reaches on a local instance only"
        raise refused("no forcing of breakers on a cluster", why, "PUT /api/v1/admin/circuit-breakers/NAME/force")
    return asyncio.run(_call(method, f"/api/v1/admin/circuit-breakers/{quote(name, safe='')}/{verb}", body))


async def _call(method: str, path: str, body: dict[str, Any] | None) -> Any:
    async with await ApiClient.login(instances.current()) as api:
        return await api.call(method, path, body)
