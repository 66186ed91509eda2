"""In a process of its own: limits are inherited and cannot be raised again by everybody."""

from __future__ import annotations

import resource
import subprocess
import sys

PROGRAM = """
import resource
from services.runtime.descriptors import raised
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
print(raised(), raised(), resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard))
"""


def test_the_soft_limit_is_raised_to_the_hard_one() -> None:
    """Once or twice, it is the same."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(hard), str(hard), "True"]
