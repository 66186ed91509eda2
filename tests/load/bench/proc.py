"""What /proc says of processes and cores: CPU time, resident memory, open descriptors. Called by measure, idle and __main__."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TICKS: Final = os.sysconf("SC_CLK_TCK")
PROC: Final = Path("/proc")


@dataclass(frozen=True, slots=True)
class Cpu:
    """Seconds."""

    user: float = 0.0
    system: float = 0.0

    def __add__(self, other: Cpu) -> Cpu:
        return Cpu(self.user + other.user, self.system + other.system)

    def __sub__(self, other: Cpu) -> Cpu:
        return Cpu(self.user - other.user, self.system - other.system)

    @property
    def total(self) -> float:
        return self.user + self.system


def parent_and_cpu(stat: str) -> tuple[int, Cpu]:
    """Of /proc/PID/stat; the name before the last `)` may hold spaces and brackets."""
    fields = stat.rpartition(")")[2].split()
    return int(fields[1]), Cpu(int(fields[11]) / TICKS, int(fields[12]) / TICKS)


def busy_s(stat: str, core: int) -> float:
    """Of /proc/stat: seconds since the start in which this core was neither idle nor waiting for a disk."""
    line = next(row for row in stat.splitlines() if row.startswith(f"cpu{core} "))
    ticks = [int(value) for value in line.split()[1:9]]  # user nice system idle iowait irq softirq steal
    return (sum(ticks) - ticks[3] - ticks[4]) / TICKS


def descendants(root: int, parents: Mapping[int, int]) -> list[int]:
    """`root` and all below it; `parents` is process → parent."""
    children: dict[int, list[int]] = {}
    for pid, parent in parents.items():
        children.setdefault(parent, []).append(pid)
    found, todo = [], [root]
    while todo:
        found.append(todo.pop())
        todo += children.get(found[-1], [])
    return found


def tree(root: int) -> list[int]:
    """The process and its descendants now."""
    parents = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it has ended meanwhile
                parents[int(entry.name)] = parent_and_cpu((entry / "stat").read_text())[0]
    return descendants(root, parents)


def cpu_of(pids: Iterable[int]) -> Cpu:
    """Their sum. One that has ended raises: what it used can no longer be told."""
    total = Cpu()
    for pid in pids:
        total += parent_and_cpu((PROC / str(pid) / "stat").read_text())[1]
    return total


def core_busy_s(core: int) -> float:
    return busy_s((PROC / "stat").read_text(), core)


def rss_kib(pids: Iterable[int]) -> int:
    """VmRSS, summed."""
    return sum(resident((PROC / str(pid) / "status").read_text()) for pid in pids)


def resident(status: str) -> int:
    """KiB, of /proc/PID/status."""
    return int(next(row for row in status.splitlines() if row.startswith("VmRSS:")).split()[1])


def descriptors(pids: Iterable[int]) -> int:
    """How many descriptors they have open: what a server has accepted shows here."""
    return sum(len(os.listdir(PROC / str(pid) / "fd")) for pid in pids)  # noqa: PTH208  # names are enough
