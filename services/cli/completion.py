"""`kubectl_complete-scalableapi`: what kubectl runs for a Tab after `kubectl scalableapi …`, with the words so far.

It prints one candidate a line, `value<Tab>what it is`, and at the end the directive of cobra's protocol: 0, the shell may
offer files; 4, it may not. <https://kubernetes.io/docs/tasks/extend-kubectl/kubectl-plugins/>
"""

from __future__ import annotations

import sys
from typing import Final

import typer
from typer._completion_classes import BashComplete

from services.cli.instance import PLUGIN
from services.cli.main import app, for_clusters, guarded
from services.cli.output import clean, say

FILES: Final = ":0"
NO_FILES: Final = ":4"
TAKES_A_FILE: Final = ("-f", "--file", "--kubeconfig")


def lines(words: list[str]) -> list[str]:
    """What kubectl is answered; the last word is being typed, '' at its begin."""
    # typer resolves words the same way for every shell: bash's class is taken for its `get_completions` alone
    shell = BashComplete(typer.main.get_command(for_clusters(app)), {}, PLUGIN, "")
    found = shell.get_completions(words[:-1], words[-1] if words else "")
    plain = [(clean(item.value), clean(item.help or "")) for item in found if item.type == "plain"]
    values = [f"{value}\t{about}" if about else value for value, about in plain]
    return [*values, FILES if words[-2:-1] and words[-2] in TAKES_A_FILE else NO_FILES]


def main() -> None:
    """The console script."""
    sys.exit(guarded(lambda: say(*lines(sys.argv[1:]))))
