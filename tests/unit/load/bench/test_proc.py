from __future__ import annotations

import os

from tests.load.bench import proc
from tests.load.bench.proc import TICKS, Cpu, busy_s, descendants, parent_and_cpu, resident

STAT = "71 (nginx: (worker) 1) S 70 70 70 0 -1 4194368 400 0 0 0 250 750 9 9 20 0 1 0 9000 1 1\n"


def test_a_process_line_is_read_past_its_name() -> None:
    """Brackets and spaces in the name shift nothing; children's time (the next two fields) is not counted."""
    assert parent_and_cpu(STAT) == (70, Cpu(250 / TICKS, 750 / TICKS))


def test_cpu_is_arithmetic() -> None:
    """Sums, differences and the total go by user and system."""
    used = Cpu(3.0, 2.0) + Cpu(1.0, 1.0) - Cpu(0.5, 0.25)
    assert (used, used.total) == (Cpu(3.5, 2.75), 6.25)


def test_a_core_is_busy_when_it_neither_idles_nor_waits() -> None:
    """idle and iowait are left out, everything else counts, and guest time (part of user) is not counted twice."""
    stat = "cpu  9 9 9 9 9 9 9 9 9 9\ncpu1 1 1 1 1 1 1 1 1 0 0\ncpu10 100 10 200 5000 700 5 15 20 99 99\n"
    assert busy_s(stat, 10) == 350 / TICKS


def test_a_tree_has_all_generations() -> None:
    """Children of children belong to it, neighbours do not."""
    assert sorted(descendants(1, {1: 0, 2: 1, 3: 2, 4: 2, 9: 0, 8: 9})) == [1, 2, 3, 4]


def test_resident_memory() -> None:
    """VmRSS, in KiB."""
    assert resident("Name:\tx\nVmPeak:\t 9 kB\nVmRSS:\t    5276 kB\nRssAnon:\t 1 kB\n") == 5276


def test_this_process_can_be_looked_at() -> None:
    """The kernel that the tests run on writes the files as they are read."""
    me = os.getpid()
    assert proc.tree(me)[0] == me
    assert proc.cpu_of([me]).total > 0
    assert proc.rss_kib([me]) > 1000
    before = proc.descriptors([me])
    read, write = os.pipe()
    assert proc.descriptors([me]) == before + 2
    os.close(read)
    os.close(write)
