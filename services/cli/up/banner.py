"""What the user sees: the banner, and one line per thing that happens afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.cli.commands.version import own
from services.cli.output import ANSI_BOLD, clean, paint
from services.cli.traffic.phases import PHASES


@dataclass(frozen=True, slots=True)
class Facts:
    """What the banner tells."""

    url: str
    data: str
    temporary: bool
    stores: str
    schema: str
    processes: Mapping[str, int]
    seconds: float
    demo: bool
    manifest: str
    notes: Sequence[str] = ()


def lines(facts: Facts) -> list[str]:
    kept = "removed on stop; keep it with --data-dir DIR" if facts.temporary else "kept"
    running = "  ".join(f"{name} x{count}" for name, count in facts.processes.items())
    shown = [
        f"{paint(f'scalable-api {own()}', ANSI_BOLD)}   local   data {facts.data} ({kept})",
        f"  {facts.stores}   {facts.schema}   {running}   ready in {facts.seconds:.1f} s",
        *(f"  {note}" for note in facts.notes),
    ]
    if facts.demo:
        shown.append(f"  Log in     admin@example.com / admin123 (demo)        keys: {facts.data}/demo-keys.json")
    shown += [
        f"  API        {facts.url}/api/v1/status        docs: {facts.url}/api/docs",
        f"  Manifest   {facts.manifest} (edit it: it is watched)",
        f"  Watch      scalable-api top · status · explain        logs: {facts.data}/logs/",
    ]
    if facts.demo:
        minutes = sum(phase.seconds for phase in PHASES) / 60
        names = ", ".join(phase.name for phase in PHASES[1:])
        shown.append(f"  Demo       {minutes:.0f} minutes: {names} (off: --no-demo)")
    return [*shown, "Ctrl-C stops everything."]


def event_line(clock: str, reason: str, message: str) -> str:
    """`12:00:31  ScaledUp      api 2→3: …`."""
    return f"{clock}  {clean(reason):<14}{clean(message)}"
