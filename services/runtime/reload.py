"""`python -m services.runtime.reload MODULE`: runs MODULE as `python -m` would, and starts it anew when its sources change.

Used by the images' target `dev`: Tilt and skaffold copy changed files into the pod, and this notices them. It watches
every file of MODULE's top-level package and of `services`, twice a second by its time and size (no inotify: copies
into a container's overlay need not raise events), and replaces the process by itself with exec: the pid stays, so a
container does not end. A change during the start, or code that cannot even be imported, waits for the next change.
"""

from __future__ import annotations

import importlib.util
import os
import runpy
import sys
import threading
import time
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NoReturn

POLL_S: Final = 0.5

State = Mapping[Path, tuple[int, int]]


def folders(module: str) -> frozenset[Path]:
    """Those of MODULE's top-level package and of `services`."""
    specs = [importlib.util.find_spec(name) for name in {module.partition(".")[0], "services"}]
    return frozenset(Path(place) for spec in specs if spec for place in spec.submodule_search_locations or ())


def look(roots: Iterable[Path]) -> State:
    """Each file's time and size; one that goes away meanwhile is left out."""
    found = {}
    for root in roots:
        for folder, below, files in os.walk(root):
            below[:] = [name for name in below if name != "__pycache__"]
            for file in (Path(folder, name) for name in files):
                try:
                    status = file.stat()
                except FileNotFoundError:
                    continue
                found[file] = (status.st_mtime_ns, status.st_size)
    return found


def watch(roots: Iterable[Path], seen: State, module: str) -> NoReturn:
    """Waits for the first change, then becomes a new process with the same pid."""
    while look(roots) == seen:
        time.sleep(POLL_S)
    print(f"reload: {module} starts anew", file=sys.stderr, flush=True)  # noqa: T201  # its log is the module's own
    os.execv(sys.executable, [sys.executable, "-m", "services.runtime.reload", module])  # noqa: S606  # itself


def main(module: str) -> None:
    roots = folders(module)
    seen = look(roots)
    watcher = threading.Thread(target=watch, args=(roots, seen, module), name="reload", daemon=True)
    watcher.start()
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except Exception:  # noqa: BLE001  # whatever the edited code raises: the next edit may mend it
        traceback.print_exc()
        watcher.join()


if __name__ == "__main__":
    main(sys.argv[1])
