"""Flags that several commands share, and how a command ends. Callers: main.py, groups.py."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

import typer

from services.cli.errors import USAGE, CliError
from services.cli.output import Format
from services.cli.targets.known import names
from services.cli.targets.kubectl import Where

WHICH: Final = "Which ScalableApi; needed where there are several."
Output = Annotated[Format, typer.Option("-o", "--output", help="Form of the output.")]
Timeout = Annotated[float, typer.Option(help="Seconds that --wait waits.", min=0)]
DatabaseUrl = Annotated[
    str | None, typer.Option(help="The owner's DSN; else DATABASE_URL, else the running instance's.")
]
Name = Annotated[str | None, typer.Argument(help=WHICH, autocompletion=names)]
NameOption = Annotated[str | None, typer.Option("--name", help=WHICH, autocompletion=names)]
Of = Annotated[str | None, typer.Option("--of", help=WHICH, autocompletion=names)]
Breaker = Annotated[str, typer.Argument(help="The breaker's name.")]
Reason = Annotated[str, typer.Option(help="For the audit log.")]
Ttl = Annotated[int, typer.Option(help="Seconds.", min=1, max=3600)]
WaitFor = Annotated[bool, typer.Option("--wait", help="Until every process enforces it.")]
What = Annotated[str, typer.Option(help="Comma-separated: up, down, tiers.")]
Wait = Annotated[float, typer.Option("--wait", help="Seconds to wait for the database.", min=0)]


class By(StrEnum):
    """Rows of `top`."""

    process = "process"
    component = "component"


def end(code: int) -> None:
    raise typer.Exit(code)


def bare(ctx: typer.Context, where: Where) -> bool:
    """Whether a group runs alone. Flags before its subcommand would be lost, and with them the cluster: refused."""
    if ctx.invoked_subcommand is None:
        return True
    if where != Where():
        sub = ctx.invoked_subcommand
        raise CliError("", f"flags stand after {sub}", "before it they would not count", f"… {sub} -n NAMESPACE", USAGE)
    return False
