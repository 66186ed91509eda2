"""`scalable-api breakers`: which are open, and the admin's hand on them.

The list comes from status: there only those that are not closed are named. Forcing one goes through the api's admin route
(contract.md §1.6), which asks every process that has it and writes the audit log.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from services.cli.api_client import ApiClient, Through
from services.cli.errors import DONE, FAILED
from services.cli.output import Format, clean, emit, say, table
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


def force(ask: Through, name: str, state: str, *, ttl_s: int, reason: str) -> int:
    """Hold it `open` or `closed` for a while."""
    body = {"state": state, "ttlSeconds": ttl_s, "reason": reason}
    answer = ask(lambda api: api.call("PUT", route(name, "force"), body))
    until, count = clean(answer["until"]), answer["processes"]
    say(f"breaker {clean(name)} {clean(answer['state'])} until {until} in {count} processes")
    return DONE


def reset(ask: Through, name: str) -> int:
    """Close it everywhere and end what was forced."""

    async def both(api: ApiClient) -> Any:
        await api.call("DELETE", route(name, "force"))
        return await api.call("POST", route(name, "reset"))

    say(f"breaker {clean(name)} {clean(ask(both)['state'])}")
    return DONE


def route(name: str, verb: str) -> str:
    return f"/api/v1/admin/circuit-breakers/{quote(name, safe='')}/{verb}"
