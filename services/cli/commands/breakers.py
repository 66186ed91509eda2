"""`scalable-api breakers`: which are open, and the admin's hand on them.

The list comes from status: there only those that are not closed are named. Forcing one goes through the api's admin route
(contract.md §1.6), which asks every process that has it and writes the audit log.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

from services.cli.api_client import ApiClient, Through
from services.cli.errors import DONE, FAILED, NOT_FOUND, CliError
from services.cli.output import Format, clean, clock, emit, say, since, table
from services.cli.targets.target import Target, the_one

ROUTE: Final = "/api/v1/admin/circuit-breakers"


def listing(target: Target, form: Format, name: str | None) -> int:
    """Exit 1 while one is open."""
    found = the_one(target, name).status.circuits
    if form in (Format.json, Format.yaml):
        emit(form, "BreakersReport", found.model_dump(mode="json", by_alias=True, exclude_none=True))
        return FAILED if found.open else DONE
    if found.items:
        rows = [
            [c.name, c.component, c.state, c.pods, since(c.since), c.reason or "-", clock(c.retry_at)]
            for c in found.items
        ]
        say(*table(["NAME", "COMPONENT", "STATE", "PROCESSES", "SINCE", "REASON", "RETRY AT"], rows))
    say(f"{found.open} open, {found.half_open} half-open of {found.total} in {found.observed_pods} processes")
    return FAILED if found.open else DONE


def force(ask: Through, name: str, state: str, *, ttl_s: int, reason: str) -> int:
    """Hold it `open` or `closed` for a while."""
    body = {"state": state, "ttlSeconds": ttl_s, "reason": reason}
    answer = ask(lambda api: called(api, "PUT", name, "force", body))
    until, count = clean(answer["until"]), answer["processes"]
    say(f"breaker {clean(name)} {clean(answer['state'])} until {until} in {count} processes")
    return DONE


def reset(ask: Through, name: str) -> int:
    """Close it everywhere and end what was forced."""

    async def both(api: ApiClient) -> Any:
        await called(api, "DELETE", name, "force")
        return await called(api, "POST", name, "reset")

    say(f"breaker {clean(name)} {clean(ask(both)['state'])}")
    return DONE


async def called(api: ApiClient, method: str, name: str, verb: str, body: Any = None) -> Any:
    """The answer; of a name that no process has, those that there are."""
    try:
        return await api.call(method, f"{ROUTE}/{quote(name, safe='')}/{verb}", body)
    except CliError as error:
        if error.exit_code != NOT_FOUND:
            raise
        there = clean(", ".join(sorted(await api.call("GET", ROUTE))))
        raise CliError("", f"no breaker {clean(name)}", f"there are {there}", exit_code=NOT_FOUND) from None
