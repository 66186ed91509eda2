"""What was measured on what: the head of a report. Called by __main__."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tests.load.bench.packages import NEEDS
from tests.load.bench.processes import program

ROOT: Final = Path(__file__).resolve().parents[3]
ASK: Final = {"wrk": "-v", "nginx": "-v", "haproxy": "-v", "envoy": "--version"}


def machine() -> dict[str, Any]:
    """The processor, the system, and how the interpreter was built: optimised builds and static ones are faster."""
    return {
        "cpu": model(Path("/proc/cpuinfo").read_text()) or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "system": platform.platform(),
        "interpreter": {
            "version": f"{platform.python_implementation()} {platform.python_version()}",
            "compiler": platform.python_compiler(),
            "pgo": "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or ""),
            "shared": bool(sysconfig.get_config_var("Py_ENABLE_SHARED")),
        },
    }


def model(cpuinfo: str) -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return found[1] if found else ""


def versions() -> dict[str, str]:
    """Of every program that is here."""
    here = {need.name: program(need.name) for need in NEEDS if need.present and need.name in ASK}
    return {name: number(_said([path, ASK[name]])) for name, path in here.items() if path}


def number(text: str) -> str:
    """The first version number in what a program says of itself."""
    found = re.search(r"\d+\.\d+(\.\d+)?[\w+.-]*", text)
    return found[0] if found else text.strip()


def commit() -> str:
    """With `-dirty` for a tree that differs from it."""
    return _said(["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude", "*"]).strip()


def _said(argv: Sequence[str]) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False)
    return done.stdout + done.stderr
