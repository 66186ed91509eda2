"""`scalable-api check`: is all well? ✓ good, ! worth a look, ✗ bad, each with what to do. Exit 1 while something is bad."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Final

from services.cli import fleet
from services.cli import instance as instances
from services.cli.checks import before, chain, installed
from services.cli.checks.finding import Finding, bad, lines, member
from services.cli.errors import DONE, FAILED, USAGE, WAIT_RAN_OUT, CliError
from services.cli.output import Format, clean, emit, say, tell
from services.cli.targets.kubectl import Where
from services.runtime.log import configure
from services.runtime.settings import CheckSettings, SettingsError, load

AGAIN_S: Final = 2.0
"""Between two looks of a wait: each costs a few requests of the client's own limit."""
Look = Callable[[], list[Finding]]


def run(form: Format, look: Look, within_s: float | None) -> int:
    """Looks once, or again until nothing is bad or the time is up (exit 6)."""
    deadline = time.monotonic() + (within_s or 0.0)
    last: Sequence[Finding] = ()
    while True:
        found = look()
        wrong = bad(found)
        if not wrong or time.monotonic() >= deadline:
            break
        if wrong != last:
            tell(*(f"  {clean(one.subject)}: {clean(one.text)}" for one in wrong))
        last = wrong
        time.sleep(AGAIN_S)
    if form in (Format.json, Format.yaml):
        emit(form, "CheckReport", {"ok": not wrong, "findings": [member(finding) for finding in found]})
    else:
        say(*lines(found))
    return DONE if not wrong else FAILED if within_s is None else WAIT_RAN_OUT


def looking(where: Where, *, pre: bool, in_cluster: bool) -> Look:
    """At a cluster before or after the installation, at the platform beside this pod, at the running instance."""
    if in_cluster and (pre or where != Where()):
        why = "--in-cluster runs in a pod, without kubectl"
        raise CliError("", "--in-cluster stands alone", why, "leave the other flags out", USAGE)
    if in_cluster:
        return beside()
    if pre:
        return lambda: before.look(where)
    if instances.as_plugin() or where != Where():
        return lambda: installed.look(where)
    return local()


def beside() -> Look:
    """From a pod beside the platform; GATEWAY_URL, FLEET and CONTROL_TOKEN (or …_FILE) say where it is."""
    try:
        settings = load(CheckSettings, os.environ)
    except SettingsError as error:
        why = "--in-cluster runs in a pod and is told by GATEWAY_URL, FLEET and CONTROL_TOKEN where the platform is"
        raise CliError("", str(error), why, "scalable-api check --help", USAGE) from None
    configure(settings, sys.stderr.fileno())  # a source that cannot be read says so in the log

    async def look() -> list[Finding]:
        processes = await chain.discovered(settings.fleet)
        seen = await chain.look(settings.gateway_url, processes, settings.control_token)
        return chain.judged(seen, settings.gateway_url)

    return lambda: asyncio.run(look())


def local() -> Look:
    """The running instance."""
    instance = instances.current()

    async def look() -> list[Finding]:
        seen = await chain.look(instance.url, fleet.listed(instance), instance.token())
        return chain.judged(seen, instance.url)

    return lambda: asyncio.run(look())
