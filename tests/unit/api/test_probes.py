from __future__ import annotations

from services.api.probes import Probes, Store
from services.runtime.metrics import Metrics


async def test_what_is_seen() -> None:
    """A store that says no, or raises, is down and makes the process degraded; before the first round nothing is
    claimed.
    """

    async def good() -> bool:
        return True

    async def refuses() -> bool:
        return False

    async def raises() -> bool:
        raise OSError("away")

    metrics = Metrics("api", "1")
    probes = Probes((Store("database", good), Store("redis", raises), Store("other", refuses)), metrics)
    assert (dict(probes.up), probes.degraded) == ({}, False)
    await probes.look()
    assert dict(probes.up) == {"database": True, "redis": False, "other": False}
    assert probes.degraded
    assert metrics.dependencies() == dict(probes.up)
