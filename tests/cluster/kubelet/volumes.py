"""A volume's files, replaced all at once: as the kubelet does, a new timestamped folder and one renamed symlink, `..data`, between the names
that programs open and the contents.

Caller: pod.py.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

DATA: Final = "..data"
_numbers = itertools.count(1)


def write_volume(folder: Path, files: Mapping[str, bytes]) -> bool:
    """Makes `folder` show exactly `files`; was anything to do? Readers see the old set or the new one, never a mixture."""
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / DATA
    old = link.resolve() if link.is_symlink() else None
    if old is not None and contents(old) == dict(files):
        return False
    fresh = folder / f"..{next(_numbers):06d}"
    for name, content in files.items():
        path = fresh / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    fresh.mkdir(exist_ok=True)
    swap = folder / "..data_tmp"
    swap.symlink_to(fresh.name)
    swap.replace(link)
    _name(folder, {name.split("/")[0] for name in files})
    if old is not None:
        shutil.rmtree(old)
    return True


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _name(folder: Path, names: set[str]) -> None:
    """The names that programs open: links through `..data`; those of files that are gone go."""
    shown = {path.name for path in folder.iterdir() if not path.name.startswith("..")}
    for name in names - shown:
        (folder / name).symlink_to(f"{DATA}/{name}")
    for name in shown - names:
        (folder / name).unlink()
