"""How many sockets and files this process may open at once."""

from __future__ import annotations

import resource


def raised() -> int:
    """Take what the system allows: the soft limit exists for programs that use select(), which none here does. The
    number in force.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
