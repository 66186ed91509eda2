"""The apis as all balancers see them: the rows of `/lb/status`, one per server, counts added up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from services.api.fleet.collection import Answer, Fleet
from services.core.breaker import STATE_NAMES


async def listed(fleet: Fleet) -> list[dict[str, Any]]:
    answers: list[Answer[dict[str, Any]]] = await fleet.ask(lambda control: control.endpoints(), "balancer")
    return merge(a.value["servers"] for a in answers if a.value is not None)


def merge(parts: Iterable[Iterable[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """A server is healthy if every balancer that knows it finds it so; its circuit state is the worst one."""
    rows: dict[str, dict[str, Any]] = {}
    for seen in (row for part in parts for row in part):
        into = rows.get(seen["url"])
        if into is None:
            rows[seen["url"]] = _row(seen)
            continue
        into["healthy"] = into["healthy"] and seen["healthy"]
        for count in ("currentConnections", "totalRequests", "failedRequests"):
            into[count] += seen[count]
        into["lastCheck"] = max(into["lastCheck"] or "", seen["lastCheck"] or "") or None
        into["lastError"] = into["lastError"] or seen["lastError"]
        into["circuitState"] = max(into["circuitState"], seen["circuitState"], key=STATE_NAMES.index)
    for row in rows.values():
        row["successRate"] = success_rate(row["totalRequests"], row["failedRequests"])
    return sorted(rows.values(), key=lambda row: row["url"])


def success_rate(requests: int, failures: int) -> str:
    """`99.00%`, or `N/A` before the first request."""
    return f"{100 * (requests - failures) / requests:.2f}%" if requests else "N/A"


def _row(seen: Mapping[str, Any]) -> dict[str, Any]:
    names = (
        "url",
        "healthy",
        "weight",
        "currentConnections",
        "totalRequests",
        "failedRequests",
        "lastCheck",
        "lastError",
    )
    return {name: seen[name] for name in names} | {"circuitState": seen["circuitState"]}
