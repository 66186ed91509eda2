"""Every process of the running instance through its control port: snapshots and explanations, all asked at once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import httpx

from services.cli.errors import REFUSED, UNREACHABLE, CliError
from services.cli.instance import Instance
from services.cli.output import clean
from services.runtime.http_client import ControlClient, ControlError, client
from services.schema.snapshot import Snapshot

PATH_ORDER: Final = ("gateway", "balancer", "api")
TIMEOUT_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Process:
    """One process and what it said, or why it said nothing."""

    component: str
    id: str
    url: str
    snapshot: Snapshot | None = None
    error: str = ""
    refused: bool = False
    """It answered, and not to this token."""


def listed(instance: Instance, components: Sequence[str] = PATH_ORDER) -> list[Process]:
    return [
        Process(component, str(entry["id"]), str(entry["controlUrl"]))
        for component in components
        for entry in instance.endpoints(component)
    ]


async def snapshots(instance: Instance) -> list[Process]:
    """All processes in path order; one that does not answer keeps its row."""
    return await asked(listed(instance), instance.token())


async def asked(processes: Sequence[Process], token: str) -> list[Process]:
    """The same, each with its snapshot or why there is none."""
    async with client(timeout_s=TIMEOUT_S) as http:

        async def ask(process: Process) -> Process:
            if process.error:
                return process
            try:
                found = await ControlClient(process.url, token, http=http, timeout_s=TIMEOUT_S).snapshot()
            except ControlError as error:
                refused = error.status == httpx.codes.UNAUTHORIZED
                return replace(process, error=clean("; ".join(error.errors) or error.status), refused=refused)
            return replace(process, snapshot=found)

        return list(await asyncio.gather(*(ask(process) for process in processes)))


async def explain(instance: Instance, component: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """The first answer of a process of `component`. A refused request (422, 404) is the asker's fault, not the
    process's.
    """
    last = f"no {component} is running"
    for process in listed(instance, [component]):
        async with ControlClient(process.url, instance.token(), timeout_s=TIMEOUT_S) as control:
            try:
                return await control.explain(body)
            except ControlError as error:
                last = clean("; ".join(error.errors))
                if not error.unreachable:
                    raise CliError("", f"{process.id} refuses to explain this", last, exit_code=REFUSED) from None
    raise CliError("", f"no {component} answers", last, "scalable-api status", UNREACHABLE)


async def decisions(instance: Instance, name: str, namespace: str) -> dict[str, dict[str, Any]]:
    """The controller's decisions of this second, by component."""
    async with ControlClient(instance.controller_url, instance.token(), timeout_s=TIMEOUT_S) as control:
        try:
            found = await control.explain({"name": name, "namespace": namespace})
        except ControlError as error:
            why = clean("; ".join(error.errors))
            raise CliError("", "the controller does not answer", why, "scalable-api status", UNREACHABLE) from None
    return dict(found["components"])
