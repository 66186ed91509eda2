"""`scalable-api`: the commands and their flags. Each imports its module when it runs, so that `--help` and errors
are quick.

Every way out is here: a CliError prints its three lines and ends with its code, a reader that went away (`| head`)
ends quietly, Ctrl-C is 130, a wrong word is 2 with the nearest name. Longer than other modules: it is a list, one
entry a command.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import typer
import typer.exceptions
from typer._click.exceptions import ClickException, NoArgsIsHelpError

from services.cli.errors import FAILED, INTERRUPTED, USAGE, CliError
from services.cli.groups import breakers_app, keys_app, tiers_app
from services.cli.instance import PLUGIN, as_plugin, refused
from services.cli.options import By, DatabaseUrl, Name, NameOption, Output, Timeout, Wait, What, end
from services.cli.output import Format
from services.cli.targets.choice import choose, targeted
from services.cli.targets.known import components
from services.cli.targets.kubectl import Where

IN_CLUSTER: Final = "From a pod beside the platform: GATEWAY_URL, FLEET, CONTROL_TOKEN say where it is."
NO_COMMAND: Final = "explain: a METHOD and a PATH, or `scaling [COMPONENT]`"

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
migrate_app = typer.Typer(invoke_without_command=True, help="The database's schema.")
app.add_typer(tiers_app, name="tiers")
app.add_typer(breakers_app, name="breakers")
app.add_typer(keys_app, name="keys")
app.add_typer(migrate_app, name="migrate")


@app.command()
def up(
    *,
    file: Annotated[Path | None, typer.Option("-f", "--file", help="Manifest to run and to watch.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Keep data here; without it, a temporary folder.")] = None,
    port: Annotated[int | None, typer.Option(help="Port of the gateway; 0: any free one.", min=0, max=65535)] = None,
    host: Annotated[str, typer.Option(help="Address of the gateway.")] = "127.0.0.1",
    database_url: Annotated[str | None, typer.Option(help="Use this Postgres (the owner's DSN).")] = None,
    redis_url: Annotated[str | None, typer.Option(help="Use this Redis or Valkey.")] = None,
    demo: Annotated[bool | None, typer.Option("--demo/--no-demo", help="Demo rows, keys and traffic.")] = None,
    demo_rate: Annotated[float, typer.Option(help="Factor for the demo's load.", min=0.05, max=10)] = 1.0,
    no_open: Annotated[bool, typer.Option("--no-open", help="Open no browser.")] = False,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
    output: Output = Format.table,
) -> None:
    """Run the whole platform on this machine until Ctrl-C."""
    from services.cli.up.options import Options
    from services.cli.up.run import run

    options = Options(
        file=file,
        data_dir=data_dir,
        port=port,
        host=host,
        database_url=database_url,
        redis_url=redis_url,
        demo=demo,
        demo_rate=demo_rate,
        open_browser=not no_open,
        log_level=log_level,
        form=output,
    )
    end(run(options))


@app.command()
def demo(
    rate: Annotated[float, typer.Option(help="Factor for the load.", min=0.05, max=10)] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="End after the phases.")] = False,
) -> None:
    """Demo traffic for the running instance."""
    from services.cli.traffic.run import run

    end(run(rate, once=once))


@app.command()
@targeted
def apply(
    where: Where,
    file: Annotated[Path, typer.Option("-f", "--file", help="Manifest; - is stdin.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Validate and show the difference only.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Until it is in force everywhere.")] = False,
    timeout: Timeout = 120.0,
) -> None:
    """Put a manifest in force. It is validated first, and what changes is shown."""
    from services.cli.commands.apply import run

    end(run(where, file, dry_run=dry_run, within_s=timeout if wait else None))


@app.command()
@targeted
def get(
    where: Where,
    name: Name = None,
    watch: Annotated[bool, typer.Option("-w", "--watch", help="Go on with every change.")] = False,
    output: Output = Format.table,
) -> None:
    """List them, one row each. The columns are those of kubectl get."""
    from services.cli.commands.status import run_get

    end(run_get(choose(where), output, name, watch=watch))


@app.command()
@targeted
def status(
    where: Where,
    *,
    name: Name = None,
    wait: Annotated[bool, typer.Option("--wait", help="Until Ready.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="All conditions and decisions.")] = False,
    timeout: Timeout = 120.0,
    output: Output = Format.table,
) -> None:
    """Show one of them on one screen. Components, tiers, breakers, conditions, decisions; exit 1 while it is not Ready."""
    from services.cli.commands.status import run_status

    end(run_status(choose(where), output, name, verbose=verbose, within_s=timeout if wait else None))


@app.command()
@targeted
def explain(
    where: Where,
    *,
    subject: Annotated[str, typer.Argument(metavar="METHOD|scaling", help="An HTTP method, or the word scaling.")],
    detail: Annotated[str | None, typer.Argument(metavar="PATH|COMPONENT", help="The path, or one component.")] = None,
    key_stdin: Annotated[bool, typer.Option("--key-stdin", help="Ask as the API key on stdin.")] = False,
    identifier: Annotated[str | None, typer.Option(help="Ask as this identifier.")] = None,
    ip: Annotated[str | None, typer.Option(help="Ask as an anonymous client with this address.")] = None,
    cost: Annotated[int | None, typer.Option(help="Cost to reckon with.", min=0, max=1000)] = None,
    name: Annotated[str | None, typer.Option("--name", help="With scaling: which ScalableApi.")] = None,
    live: Annotated[bool, typer.Option("--live", help="With scaling: the windows of this second.")] = False,
    output: Output = Format.table,
) -> None:
    """Tell why: replicas, or a request. The decision is computed again; the request is asked of gateway and balancer."""
    if subject == "scaling":
        from services.cli.commands.explain_scaling import run as run_scaling

        end(run_scaling(choose(where), output, detail, name=name, live=live))
    if where != Where():
        raise refused("explaining a request asks the local instance", "it has no cluster flags", "leave them out")
    from services.cli.commands.explain_request import run

    if detail is None:
        raise CliError(
            "", NO_COMMAND, f"{subject} alone names neither", "scalable-api explain GET /api/v1/status", USAGE
        )
    end(run(output, subject, detail, key_stdin=key_stdin, identifier=identifier, ip=ip, cost=cost))


@app.command()
@targeted
def check(
    where: Where,
    *,
    pre: Annotated[bool, typer.Option("--pre", help="Cluster: can the charts be installed here, and by you?")] = False,
    in_cluster: Annotated[bool, typer.Option("--in-cluster", help=IN_CLUSTER)] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Until nothing is bad.")] = False,
    timeout: Timeout = 120.0,
    output: Output = Format.table,
) -> None:
    """Look whether all is well. Each with what to do about it; exit 1 if something is bad."""
    from services.cli.commands.check import looking, run

    end(run(output, looking(where, pre=pre, in_cluster=in_cluster), timeout if wait else None))


@app.command()
@targeted
def events(where: Where, *, name: Name = None, output: Output = Format.table) -> None:
    """List what happened, oldest first."""
    from services.cli.commands.events import run

    end(run(choose(where), output, name))


@app.command()
@targeted
def scale(
    where: Where,
    *,
    component: Annotated[str, typer.Argument(help="Which component.", autocompletion=components)],
    replicas: Annotated[int, typer.Argument(help="How many.", min=0)],
    name: NameOption = None,
) -> None:
    """Set a component's count. Its mode becomes Manual."""
    from services.cli.commands.edit import scale as run

    end(run(choose(where), component, replicas, name))


@app.command()
@targeted
def pause(
    where: Where,
    *,
    what: What = "up,down,tiers",
    reason: Annotated[str, typer.Option(help="Why; status shows it.")] = "",
    name: Name = None,
) -> None:
    """Hold counts or tiers as they are."""
    from services.cli.commands.edit import pause as run

    end(run(choose(where), what, name, on=True, reason=reason))


@app.command()
@targeted
def resume(where: Where, *, what: What = "up,down,tiers", name: Name = None) -> None:
    """End a pause."""
    from services.cli.commands.edit import pause as run

    end(run(choose(where), what, name, on=False))


@app.command()
def top(
    by: Annotated[By, typer.Option(help="One row each.")] = By.process,
    once: Annotated[bool, typer.Option("--once", help="Print one table and end.")] = False,
    output: Output = Format.table,
) -> None:
    """Live load of every process."""
    from services.cli.commands.top import run

    end(run(output, by=by, once=once))


@app.command()
def version(output: Output = Format.table) -> None:
    """Tell the versions that run."""
    from services.cli.commands.version import run

    end(run(output))


@app.command(hidden=True)
def bootstrap(
    *,
    secret: Annotated[str | None, typer.Option(help="Make this Secret of keys if it is absent.")] = None,
    control_secret: Annotated[str | None, typer.Option(help="Make this Secret of the control token.")] = None,
    dev_postgres: Annotated[str, typer.Option(help="Host of the chart's Postgres.")] = "postgres",
    dev_redis: Annotated[str, typer.Option(help="Host of the chart's Valkey.")] = "valkey",
) -> None:
    """The chart's hook: the installation's Secrets, where they are absent."""
    from services.cli.commands.bootstrap import run

    end(run(secret, control_secret, dev_postgres, dev_redis))


@migrate_app.callback()
def migrate_bare(ctx: typer.Context) -> None:
    """Without a subcommand: up."""
    if ctx.invoked_subcommand is None:
        migrate_up()


@migrate_app.command("up")
def migrate_up(database_url: DatabaseUrl = None, wait: Wait = 60.0, output: Output = Format.table) -> None:
    """Run what is pending."""
    from services.cli.commands import migrate

    end(migrate.up(output, migrate.target(database_url), wait))


@migrate_app.command("status")
def migrate_status(database_url: DatabaseUrl = None, wait: Wait = 0.0, output: Output = Format.table) -> None:
    """Every migration; exit 1 while one is pending."""
    from services.cli.commands import migrate

    end(migrate.status(output, migrate.target(database_url), wait))


@migrate_app.command("verify")
def migrate_verify(database_url: DatabaseUrl = None, wait: Wait = 0.0, output: Output = Format.table) -> None:
    """Compare checksums and db/schema.sql with the database; exit 1 when they differ."""
    from services.cli.commands import migrate

    end(migrate.verify(output, migrate.target(database_url), wait))


def main() -> None:
    """The console script."""
    program = for_clusters(app) if as_plugin() else app
    sys.exit(guarded(lambda: program(standalone_mode=False)))


def for_clusters(program: typer.Typer) -> typer.Typer:
    """The commands that a cluster can be asked: help and completion of the kubectl plugin name no others."""
    for command in program.registered_commands:
        command.hidden |= not (hasattr(command.callback, "targeted") or command.callback is version)
    for group in program.registered_groups:
        own = group.typer_instance.registered_commands if group.typer_instance else ()
        group.hidden = not any(hasattr(command.callback, "targeted") for command in own)
    return program


def guarded(command: Callable[[], Any]) -> int:
    """Runs a command; its exit code, whatever it raises."""
    try:
        code = command()
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains at its end
        return FAILED
    except CliError as error:
        _print_error(error)
        return error.exit_code
    except NoArgsIsHelpError as asked:
        asked.show()
        return USAGE
    except ClickException as error:
        _print_error(misused(error))
        return USAGE
    except (KeyboardInterrupt, typer.Abort, typer.exceptions.Abort):
        return INTERRUPTED
    except typer.Exit as ending:
        return ending.exit_code
    return code if isinstance(code, int) else 0


def misused(error: ClickException) -> CliError:
    """A wrong word in the same three lines as everything else that is wrong."""
    context = getattr(error, "ctx", None)
    program, _, words = (context.command_path if context else "scalable-api").partition(" ")
    program = "kubectl scalableapi" if program == PLUGIN else "scalable-api"
    help_of = " ".join(word for word in (program, words.removeprefix("-m services.cli").strip(), "--help") if word)
    return CliError("", error.format_message().rstrip(".").replace("Value error, ", ""), "", help_of, USAGE)


def _print_error(error: CliError) -> None:
    from services.cli.output import ANSI_RED, paint

    first, *rest = error.lines()
    word, _, text = first.partition(" ")
    print(f"{paint(word, ANSI_RED, sys.stderr)} {text}", *rest, sep="\n", file=sys.stderr)
