"""The groups `tiers` and `breakers`: bare they show, their subcommands change. Hung into the program by main.py."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from services.cli.options import Breaker, Name, NameOption, Output, Reason, Timeout, Ttl, WaitFor, bare, end
from services.cli.output import Format
from services.cli.targets.choice import choose, targeted
from services.cli.targets.kubectl import Where

tiers_app = typer.Typer(invoke_without_command=True, help="Limits: who enforces which, and changes.")
breakers_app = typer.Typer(invoke_without_command=True, help="Breakers that are not closed, and forcing.")


@tiers_app.callback()
@targeted
def tiers_bare(where: Where, *, ctx: typer.Context, name: NameOption = None, output: Output = Format.table) -> None:
    """Without a subcommand: the document in force and who enforces it; exit 1 while somebody does not."""
    from services.cli.commands import tiers

    if bare(ctx, where):
        end(tiers.show(choose(where), output, name))


@tiers_app.command("history")
@targeted
def tiers_history(where: Where, *, name: Name = None, output: Output = Format.table) -> None:
    """List the documents before."""
    from services.cli.commands import tiers

    end(tiers.history(choose(where), output, name))


@tiers_app.command("rotate")
@targeted
def tiers_rotate(
    where: Where,
    *,
    file: Annotated[Path, typer.Option("-f", "--file", help="The members of spec.tiers; - is stdin.")],
    name: Name = None,
    canary: Annotated[str | None, typer.Option(help="This share of the gateways first, as 10%.")] = None,
    audit: Annotated[bool, typer.Option("--audit", help="Count what it would refuse; refuse nobody.")] = False,
    wait: WaitFor = False,
    timeout: Timeout = 120.0,
) -> None:
    """Put other tiers into the spec."""
    from services.cli.commands import tiers

    share = None if canary is None else tiers.percent(canary)
    within_s = timeout if wait else None
    end(tiers.rotate(choose(where), file, name, canary=share, audit=audit, within_s=within_s))


@tiers_app.command("rollback")
@targeted
def tiers_rollback(where: Where, *, name: Name = None, wait: WaitFor = False, timeout: Timeout = 120.0) -> None:
    """Go back to the document before. Its tiers are put into the spec."""
    from services.cli.commands import tiers

    end(tiers.rollback(choose(where), name, within_s=timeout if wait else None))


@breakers_app.callback()
@targeted
def breakers_bare(where: Where, *, ctx: typer.Context, name: NameOption = None, output: Output = Format.table) -> None:
    """Without a subcommand: the breakers that are not closed; exit 1 while one is open."""
    from services.cli.commands import breakers

    if bare(ctx, where):
        end(breakers.listing(choose(where), output, name))


@breakers_app.command("open")
@targeted
def breakers_open(where: Where, *, name: Breaker, reason: Reason, ttl: Ttl = 300) -> None:
    """Hold it open, whatever the calls say."""
    from services.cli.commands import breakers

    end(breakers.force(where, name, "open", ttl_s=ttl, reason=reason))


@breakers_app.command("close")
@targeted
def breakers_close(where: Where, *, name: Breaker, reason: Reason, ttl: Ttl = 300) -> None:
    """Hold it closed, whatever the calls say."""
    from services.cli.commands import breakers

    end(breakers.force(where, name, "closed", ttl_s=ttl, reason=reason))


@breakers_app.command("reset")
@targeted
def breakers_reset(where: Where, *, name: Breaker) -> None:
    """Close it everywhere and let it decide for itself again."""
    from services.cli.commands import breakers

    end(breakers.reset(where, name))
