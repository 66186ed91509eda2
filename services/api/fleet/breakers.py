"""The breakers of all processes under one name each: the list, reset and force of `~/admin/circuit-breakers`.

Several processes have a breaker of one name (every balancer one per api, every api `external-service`): the worst
state is shown, counts are added, and a change goes to every process that has it. A name nobody has is unknown and
stays so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote

from services.api.fleet.collection import Answer, Fleet
from services.core.breaker import STATE_NAMES, TRANSITIONS_KEPT
from services.runtime.http_client import ControlClient

COUNTS: Final = ("totalCalls", "successfulCalls", "failedCalls", "rejectedCalls")
Row = Mapping[str, Any]


async def listed(fleet: Fleet) -> tuple[dict[str, dict[str, Any]], bool]:
    """Name → row; and whether a process did not answer."""
    answers = await fleet.ask(lambda control: control.breakers())
    return merge(answers), any(a.value is None and a.status != 404 for a in answers)


async def reset(fleet: Fleet, name: str) -> list[Row]:
    """The rows afterwards, one per process that has it; empty: nobody has."""
    return _rows(await fleet.ask(lambda control: control.request("POST", f"{_path(name)}/reset")))


async def force(fleet: Fleet, name: str, state: str, ttl_s: float, reason: str) -> list[Row]:
    body = {"state": state, "ttlSeconds": ttl_s, "reason": reason}

    async def put(control: ControlClient) -> Any:
        return await control.request("POST", f"{_path(name)}/force", body)

    return _rows(await fleet.ask(put))


async def lift(fleet: Fleet, name: str) -> list[Row]:
    return _rows(await fleet.ask(lambda control: control.request("DELETE", f"{_path(name)}/force")))


def merge(answers: Iterable[Answer[dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Sorted by name."""
    rows: dict[str, list[tuple[Answer[dict[str, Any]], Row]]] = {}
    for answer in answers:
        for name, row in (answer.value or {}).items():
            if isinstance(row, dict):
                rows.setdefault(name, []).append((answer, row))
    return {name: _one(name, found) for name, found in sorted(rows.items())}


def worst(rows: Iterable[Row]) -> str:
    """The worst state: open before half-open before closed."""
    return max((str(row["state"]) for row in rows), key=STATE_NAMES.index, default=STATE_NAMES[0])


def _one(name: str, found: list[tuple[Answer[dict[str, Any]], Row]]) -> dict[str, Any]:
    rows = [row for _, row in found]
    changes = [change for row in rows for change in row["stats"]["stateChanges"]]
    changes.sort(key=lambda change: str(change["timestamp"]))
    failures = [str(row["lastFailure"]) for row in rows if row["lastFailure"]]
    return {
        "name": name,
        "state": worst(rows),
        "failures": max(int(row["failures"]) for row in rows),
        "lastFailure": max(failures, default=None),
        "forced": any(row["forced"] for row in rows),
        "stats": {
            **{count: sum(int(row["stats"][count]) for row in rows) for count in COUNTS},
            "stateChanges": changes[-TRANSITIONS_KEPT:],
        },
        "processes": [
            {"component": a.process.component, "instance": a.process.instance, "state": row["state"]}
            for a, row in found
        ],
    }


def _rows(answers: Iterable[Answer[Any]]) -> list[Row]:
    return [answer.value for answer in answers if isinstance(answer.value, dict)]


def _path(name: str) -> str:
    return f"/control/v1/breakers/{quote(name, safe='')}"
