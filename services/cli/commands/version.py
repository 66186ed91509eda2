"""`scalable-api version`: this program, the running processes, and a warning where they differ."""

from __future__ import annotations

import asyncio
import importlib.metadata
import platform

from services.cli import fleet
from services.cli import instance as instances
from services.cli.errors import DONE, CliError
from services.cli.output import Format, clean, emit, say, table, tell


def own() -> str:
    return importlib.metadata.version("scalable-api")


def run(form: Format) -> int:
    """Without a running instance it tells the client's alone: that is an answer, not a fault."""
    try:
        instance = instances.current()
        processes = asyncio.run(fleet.snapshots(instance))
    except CliError:
        processes = []
    client = own()
    versions = {p.id: p.snapshot.version if p.snapshot else "no answer" for p in processes}
    if form in (Format.json, Format.yaml):
        emit(form, "VersionReport", {"client": client, "python": platform.python_version(), "processes": versions})
    else:
        say(f"scalable-api {client}  python {platform.python_version()}  {platform.system()} {platform.machine()}")
        if versions:
            say(*table(["PROCESS", "VERSION"], list(versions.items())))
    skew = sorted({v for v in versions.values() if v not in (client, "no answer")})
    if skew:
        tell(f"warning: processes run {clean(', '.join(skew))}, this program is {client}; restart scalable-api up")
    return DONE
