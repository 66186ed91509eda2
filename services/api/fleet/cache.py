"""The caches of all apis as one: figures added up, a purge carried out where it belongs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from services.api.fleet.collection import Answer, Fleet

SUMS: Final = ("localHits", "redisHits", "misses", "localCacheSize", "localBytes", "stale", "collapsed")
OF_NAMESPACE: Final = ("entries", "hits", "misses")
PATH: Final = "/control/v1/cache"


async def described(fleet: Fleet) -> tuple[dict[str, Any], bool]:
    """`~/admin/cache`, and whether an api did not answer."""
    answers: list[Answer[Any]] = await fleet.ask(lambda control: control.request("GET", PATH), "api")
    parts = [a.value for a in answers if isinstance(a.value, dict)]
    return merge(parts), len(parts) < len(answers)


async def matched(fleet: Fleet, namespace: str, parameters: tuple[str, ...] | None) -> int:
    """Entries the apis hold under this name (each its own), or 1 if any knows the one with these parameters."""
    listed = None if parameters is None else list(parameters)
    body = {"namespace": namespace, "parameters": listed, "dryRun": True}
    answers: list[Answer[Any]] = await fleet.ask(
        lambda control: control.request("POST", f"{PATH}/purge", body),
        "api",
    )
    counts = [int(a.value["matched"]) for a in answers if isinstance(a.value, dict)]
    return sum(counts) if parameters is None else max(counts, default=0)


def merge(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    parts = list(parts)
    total: dict[str, Any] = {name: sum(int(p[name]) for p in parts) for name in SUMS}
    hits = total["localHits"] + total["redisHits"]
    asked = hits + total["misses"] + total["stale"]
    total["hitRate"] = round(hits / asked, 4) if asked else 0.0
    total["namespaces"] = _namespaces(parts)
    up = bool(parts) and all(p["l2"]["state"] == "up" for p in parts)
    used = max((int(p["l2"]["usedBytes"]) for p in parts), default=0)
    return total | {"l2": {"state": "up" if up else "down", "usedBytes": used}}


def _namespaces(parts: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for row in (row for part in parts for row in part["namespaces"]):
        into = rows.setdefault(row["name"], {**row, **dict.fromkeys(OF_NAMESPACE, 0)})
        into["generation"] = max(into["generation"], row["generation"])
        for name in OF_NAMESPACE:
            into[name] += int(row[name])
    return list(rows.values())
