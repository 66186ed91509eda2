"""`scalable-api events`: what happened to the object, as its place keeps it: Kubernetes for an hour, an instance two files."""

from __future__ import annotations

from dataclasses import asdict

from services.cli.errors import DONE
from services.cli.output import Format, emit, say, since, table, tell
from services.cli.targets.target import Target, the_one


def run(target: Target, form: Format, name: str | None) -> int:
    found = target.events(the_one(target, name).metadata.name)
    if form in (Format.json, Format.yaml):
        members = [{"lastAt": h.last_at, **{k: v for k, v in asdict(h).items() if k != "last_at"}} for h in found]
        emit(form, "EventsReport", {"events": members})
    elif found:
        rows = [[since(h.last_at), h.type, h.reason, h.count, h.message] for h in found]
        say(*table(["LAST", "TYPE", "REASON", "COUNT", "MESSAGE"], rows))
    else:
        tell("no Events are kept of it; Kubernetes forgets them after an hour")
    return DONE
