"""The groups `tiers`, `breakers` and `keys`: bare the first two show, subcommands change. Hung into the program by main.py."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from services.cli.options import Breaker, Name, NameOption, Of, Output, Reason, Timeout, Ttl, WaitFor, bare, end
from services.cli.output import Format
from services.cli.targets.choice import choose, targeted
from services.cli.targets.kubectl import Where

tiers_app = typer.Typer(invoke_without_command=True, help="Limits: who enforces which, and changes.")
keys_app = typer.Typer(no_args_is_help=True, help="API keys, through the api.")
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
def breakers_open(where: Where, *, breaker: Breaker, reason: Reason, ttl: Ttl = 300, name: NameOption = None) -> None:
    """Hold it open, whatever the calls say."""
    from services.cli.api_client import through
    from services.cli.commands import breakers

    end(breakers.force(through(choose(where), name), breaker, "open", ttl_s=ttl, reason=reason))


@breakers_app.command("close")
@targeted
def breakers_close(where: Where, *, breaker: Breaker, reason: Reason, ttl: Ttl = 300, name: NameOption = None) -> None:
    """Hold it closed, whatever the calls say."""
    from services.cli.api_client import through
    from services.cli.commands import breakers

    end(breakers.force(through(choose(where), name), breaker, "closed", ttl_s=ttl, reason=reason))


@breakers_app.command("reset")
@targeted
def breakers_reset(where: Where, *, breaker: Breaker, name: NameOption = None) -> None:
    """Close it everywhere and let it decide for itself again."""
    from services.cli.api_client import through
    from services.cli.commands import breakers

    end(breakers.reset(through(choose(where), name), breaker))


@keys_app.command("create")
@targeted
def keys_create(
    where: Where,
    *,
    name: Annotated[str | None, typer.Option(help="A name to know it by.")] = None,
    tier: Annotated[str | None, typer.Option(help="Its tier; the owner's without it.")] = None,
    scopes: Annotated[str, typer.Option(help="Comma-separated.")] = "read,write",
    expires: Annotated[int, typer.Option(help="Days; 0: never.", min=0, max=365)] = 90,
    of: Of = None,
    output: Output = Format.table,
) -> None:
    """Make a key. It is printed once, alone, on stdout."""
    from services.cli.api_client import through
    from services.cli.commands import keys

    chosen = [scope.strip() for scope in scopes.split(",") if scope.strip()]
    end(
        keys.create(
            through(choose(where), of),
            output,
            name=name or keys.fresh_name(),
            tier=tier,
            scopes=chosen,
            expires_days=expires or None,
        )
    )


@keys_app.command("list")
@targeted
def keys_list(
    where: Where,
    *,
    status: Annotated[str | None, typer.Option(help="active, expiring, expired or revoked.")] = None,
    tier: Annotated[str | None, typer.Option(help="Only of this tier.")] = None,
    of: Of = None,
    output: Output = Format.table,
) -> None:
    """List the admin's keys."""
    from services.cli.api_client import through
    from services.cli.commands import keys

    end(keys.listing(through(choose(where), of), output, status=status, tier=tier))


@keys_app.command("rotate")
@targeted
def keys_rotate(
    where: Where,
    *,
    key: Annotated[str, typer.Argument(help="Id or prefix.")],
    grace: Annotated[int, typer.Option(help="Seconds that the old one still works.", min=0, max=604_800)] = 86_400,
    of: Of = None,
    output: Output = Format.table,
) -> None:
    """Make a new key in place of an old one."""
    from services.cli.api_client import through
    from services.cli.commands import keys

    end(keys.rotate(through(choose(where), of), output, key, grace_s=grace))


@keys_app.command("revoke")
@targeted
def keys_revoke(
    where: Where,
    *,
    key: Annotated[str, typer.Argument(help="Id or prefix.")],
    reason: Annotated[str | None, typer.Option(help="For the audit log.")] = None,
    of: Of = None,
) -> None:
    """End a key. Within two seconds no gateway takes it."""
    from services.cli.api_client import through
    from services.cli.commands import keys

    end(keys.revoke(through(choose(where), of), key, reason))
