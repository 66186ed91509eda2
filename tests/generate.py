"""`./dev generate [NAME…] [--check]`: writes every generated file from its source; `--check` writes nothing and fails on a difference.

Each generator is a function that returns {path: content}. Run by name only: `locks`, since it asks the package registry, and `golden`,
the CRD that later ones must stay compatible with: before a release it may be written anew, after it a new version's stands beside it.
`--check` leaves out those that need a server.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from tests import generators

ROOT = Path(__file__).resolve().parent.parent
SERVICES = ("gateway", "balancer", "api", "operator")
LOCKS = {  # dev's comes first: the others take its versions, so that what is shipped is what was tested
    **{extra: ("pyproject.toml", "--extra", extra) for extra in ("dev", "embedded")},
    **{service: ("pyproject.toml", "--extra", service, "--extra", "tracing") for service in SERVICES},
    "build": ("--group", "build"),
}

Generator = Callable[[], Mapping[str, str]]
GENERATORS: dict[str, Generator] = {**generators.GENERATORS}
ON_REQUEST: dict[str, Generator] = {**generators.ON_REQUEST}


def locks() -> None:
    """Pins every extra, and the images' build tools, with hashes and without a registry's address."""
    uv = str(Path(sys.executable).parent / "uv")
    shape = ["--universal", "--generate-hashes", "--no-header", "--python-version", "3.11", "--upgrade"]
    for name, what in LOCKS.items():
        tested = [] if name == "dev" else ["--constraint", "locks/dev.txt"]
        line = [uv, "pip", "compile", "-q", *what, *tested, *shape, "-o", f"locks/{name}.txt"]
        subprocess.run(line, cwd=ROOT, check=True)


def main() -> int:
    check = "--check" in sys.argv
    names = [a for a in sys.argv[1:] if a != "--check"]
    if "locks" in names:
        locks()
        names.remove("locks")
        if not names:
            return 0
    known = GENERATORS | ON_REQUEST
    if unknown := [name for name in names if name not in known]:
        print(f"./dev generate: no {unknown[0]!r}; there are {', '.join([*known, 'locks'])}", file=sys.stderr)
        return 2
    stale = []
    for name in names or [n for n in GENERATORS if not (check and n in generators.NEED_A_SERVER)]:
        for path, content in known[name]().items():
            file = ROOT / path
            if file.exists() and file.read_text() == content:
                continue
            stale.append(path)
            if not check:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(content)
                print(f"wrote {path}")
    if check and stale:
        print("not up to date, run ./dev generate: " + ", ".join(stale), file=sys.stderr)
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
