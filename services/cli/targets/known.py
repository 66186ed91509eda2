"""What a word on the command line could be, for completion: a context, a namespace, a ScalableApi, a component.

What only a server knows is asked of kubectl with a short time-out; who cannot be asked offers nothing, for a shell waits
and shows no errors.
Callers: choice.py's flags, options.py's arguments.
"""

from __future__ import annotations

from typing import Final, get_args

import typer

from services.cli import instance as instances
from services.cli.errors import CliError
from services.cli.targets import kubectl
from services.cli.targets.kubectl import KIND, Where

PATIENCE: Final = "--request-timeout=2s"


def contexts(ctx: typer.Context, incomplete: str) -> list[str]:
    return _asked(ctx, incomplete, "config", "get-contexts", "-o", "name")


def namespaces(ctx: typer.Context, incomplete: str) -> list[str]:
    return _asked(ctx, incomplete, "get", "namespaces", "-o", "name", PATIENCE)


def names(ctx: typer.Context, incomplete: str) -> list[str]:
    if instances.as_plugin() or where_of(ctx) != Where():
        return _asked(ctx, incomplete, "get", KIND, "-o", "name", PATIENCE)
    try:
        return [name for name in [instances.current().name] if name.startswith(incomplete)]
    except CliError:
        return []


def components(incomplete: str) -> list[str]:
    from services.schema.component import ComponentName  # pydantic, on no other Tab

    return [name for name in get_args(ComponentName) if name.startswith(incomplete)]


def where_of(ctx: typer.Context) -> Where:
    """The flags typed so far; those of a group stand with its subcommand."""
    return Where(**{name: ctx.params.get(name) for name in ("context", "kubeconfig", "namespace", "as_user")})


def _asked(ctx: typer.Context, incomplete: str, *words: str) -> list[str]:
    """The last part of `namespace/x` and `scalableapi.scalableapi.io/x`."""
    try:
        answer = kubectl.ask(where_of(ctx), *words).decode()
    except CliError:
        return []
    found = (line.rpartition("/")[2] if words[0] == "get" else line for line in answer.splitlines())
    return [name for name in found if name.startswith(incomplete)]
