"""Which target a command speaks to: a cluster as a kubectl plugin or with one of its flags, else the running instance.

`targeted` gives a command the four flags and hands it the choice as its first parameter, so that each command names
its own flags alone; it marks the command as one that a cluster can be asked.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from services.cli import instance as instances
from services.cli.targets.known import contexts, namespaces
from services.cli.targets.kubectl import Where

if TYPE_CHECKING:
    from services.cli.targets.target import Target

FLAGS: Final[dict[str, Any]] = {
    "context": Annotated[
        str | None, typer.Option("--context", help="Cluster: kubeconfig context.", autocompletion=contexts)
    ],
    "kubeconfig": Annotated[str | None, typer.Option("--kubeconfig", help="Cluster: path of the kubeconfig.")],
    "namespace": Annotated[
        str | None, typer.Option("-n", "--namespace", help="Cluster: the namespace.", autocompletion=namespaces)
    ],
    "as_user": Annotated[str | None, typer.Option("--as", help="Cluster: the user to act as.")],
}


def choose(where: Where) -> Target:
    """E111 without a cluster asked for and without an instance."""
    if instances.as_plugin() or where != Where():
        from services.cli.targets.cluster import Cluster

        return Cluster(where)
    from services.cli.targets.local import Local

    return Local(instances.current())


def targeted(command: Callable[..., None]) -> Callable[..., None]:
    """`command(where, …)` as a command with the four flags in place of `where`."""
    signature = inspect.signature(command, eval_str=True)
    own = [parameter for name, parameter in signature.parameters.items() if name != "where"]
    keyword = inspect.Parameter.KEYWORD_ONLY
    added = [inspect.Parameter(name, keyword, default=None, annotation=kind) for name, kind in FLAGS.items()]
    own = [parameter.replace(kind=keyword) for parameter in own]

    def run(**given: Any) -> None:
        where = Where(**{name: given.pop(name) for name in FLAGS})
        command(where, **given)

    run.targeted = True  # type: ignore[attr-defined]
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in (*own, *added)} | {"return": None}
    return run
