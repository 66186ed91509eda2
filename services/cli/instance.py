"""The running local instance: what `up` writes for the other commands, and how they reach it.

`$XDG_STATE_HOME/scalable-api/current.json` (0600, else under ~/.local/state) names it; the control token stays in
the data folder. One instance per user is current: the one started last.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from services.cli.errors import REFUSED, CliError

PLUGIN: Final = "kubectl-scalableapi"
PLUGIN_PROGRAMS: Final = (PLUGIN, "kubectl_complete-scalableapi")
CONTROLLER_FILE: Final = "controller.json"
"""In the state folder: where the controller's own control port is."""


@dataclass(frozen=True, slots=True)
class Instance:
    """Where a running `up` keeps its things."""

    pid: int
    name: str
    url: str
    data: str
    manifest: str
    version: str
    started_at: str
    demo: bool

    @property
    def state(self) -> Path:
        return Path(self.data) / "state"

    @property
    def object_file(self) -> Path:
        """The object with its status, as the controller last wrote it."""
        return self.state / f"{self.name}.json"

    def token(self) -> str:
        return str(json.loads((Path(self.data) / "secrets.json").read_text())["control_token"])

    @property
    def owner_dsn(self) -> str:
        """The database as the role that migrates it."""
        return str(json.loads((Path(self.data) / "databases.json").read_text())["owner"])

    def endpoints(self, component: str) -> list[dict[str, Any]]:
        """The processes of a component with their control ports; none while the file is not there."""
        try:
            found = json.loads((self.state / "endpoints" / f"{component}.json").read_text())
        except (OSError, ValueError):
            return []
        return list(found)

    @property
    def controller_url(self) -> str:
        """The controller's own control port; '' while it has none."""
        try:
            return str(json.loads((self.state / CONTROLLER_FILE).read_text())["controlUrl"])
        except (OSError, ValueError, KeyError):
            return ""

    def object(self) -> dict[str, Any]:
        try:
            return dict(json.loads(self.object_file.read_text()))
        except (OSError, ValueError) as error:
            raise CliError(
                "E111", "the instance has written no status yet", str(error), "try again in a second"
            ) from None


def write_private(path: Path, text: str) -> None:
    """Whole or not at all, readable by its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mkstemp makes it 0600
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
        os.replace(temporary, path)  # noqa: PTH105
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def current_file() -> Path:
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "scalable-api" / "current.json"


def announce(instance: Instance) -> None:
    write_private(current_file(), json.dumps(asdict(instance), indent=2) + "\n")


def retract(instance: Instance) -> None:
    """Removes the announcement, unless another instance has made its own since."""
    try:
        if int(json.loads(current_file().read_text())["pid"]) == instance.pid:
            current_file().unlink()
    except (OSError, ValueError, KeyError):
        return


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def as_plugin() -> bool:
    """Run as `kubectl scalableapi …`: the user means a cluster, never this machine."""
    return Path(sys.argv[0]).name in PLUGIN_PROGRAMS


def current() -> Instance:
    """The running instance; E111 without one, refused as a kubectl plugin."""
    if as_plugin():
        why = "this command speaks to a local instance only, and kubectl means a cluster"
        raise refused("not on a cluster", why, "run it as scalable-api")
    path = current_file()
    try:
        found = Instance(**json.loads(path.read_text()))
    except FileNotFoundError:
        raise _none(f"{path} is not there") from None
    except (OSError, ValueError, TypeError) as error:
        raise _none(f"{path}: {error}") from None
    if not alive(found.pid):
        raise _none(f"the one in {found.data} (pid {found.pid}) has ended")
    return found


def _none(why: str) -> CliError:
    return CliError("E111", "no running instance", why, "scalable-api up, or name a cluster: -n NAMESPACE or --context")


def refused(what: str, why: str, next_step: str = "") -> CliError:
    return CliError("", what, why, next_step, REFUSED)
