"""`scale C N`, `pause`, `resume`: one member of the spec changed, where the object lives."""

from __future__ import annotations

from typing import Any, Final

from services.cli.errors import DONE, NOT_FOUND, USAGE, CliError
from services.cli.output import clean, say
from services.cli.targets.target import Target, the_one

PAUSES: Final = {"up": "scaleUp", "down": "scaleDown", "tiers": "tiers"}
REASON: Final = "scalableapi.io/pause-reason"
"""Annotation: why somebody paused it; `status` shows it, the last resume takes it away."""


def scale(target: Target, component: str, replicas: int, name: str | None) -> int:
    """A count that a person sets holds only in mode Manual, so the component is put there, and that is said."""
    found = the_one(target, name)
    names = [c.name for c in found.spec.components] if found.spec else []
    if component not in names:
        raise CliError(
            "", f"no component {clean(component)}", f"there are {', '.join(names) or 'none'}", exit_code=NOT_FOUND
        )
    target.edit(found, lambda body: counted(body["spec"], component, replicas))
    say(f"scalableapi/{found.metadata.name} {component}: {replicas} replicas, mode Manual")
    return DONE


def counted(spec: dict[str, Any], component: str, replicas: int) -> None:
    """The api's count is spec.replicas, as `kubectl scale` writes it."""
    entry = next(c for c in spec["components"] if c["name"] == component)
    entry["mode"] = "Manual"
    (spec if component == "api" else entry)["replicas"] = replicas


def pause(target: Target, what: str, name: str | None, *, on: bool, reason: str = "") -> int:
    """`what`: a comma-separated choice of up, down, tiers."""
    chosen = [word.strip() for word in what.split(",") if word.strip()]
    if not chosen or any(word not in PAUSES for word in chosen):
        raise CliError("", f"--what {clean(what)}", f"choose from {', '.join(PAUSES)}", exit_code=USAGE)
    found = the_one(target, name)
    target.edit(found, lambda body: paused(body, chosen, on=on, reason=reason))
    why = f" ({clean(reason)})" if reason else ""
    say(f"scalableapi/{found.metadata.name} {'paused' if on else 'resumed'}: {', '.join(chosen)}{why}")
    return DONE


def paused(body: dict[str, Any], chosen: list[str], *, on: bool, reason: str = "") -> None:
    """A new reason takes the old one's place; with nothing paused any more there is none."""
    spec, metadata = body["spec"], body["metadata"]
    spec["paused"] = {**(spec.get("paused") or {}), **{PAUSES[word]: on for word in chosen}}
    annotations = dict(metadata.get("annotations") or {})
    if reason:
        annotations[REASON] = reason
    if not any(spec["paused"].values()):
        annotations.pop(REASON, None)
    if annotations or "annotations" in metadata:
        metadata["annotations"] = annotations
