"""Specs by chance. `plain`: its end does not depend on what was there before, for every count is given and tiers are in force at once.
`anything`: every mode, rotation, pause, schedule and budget.

Callers: the tests of A → B → A, on the fakes and on a real API server.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

Object = dict[str, Any]


def plain(draw: random.Random, components: Sequence[str]) -> Object:
    """Manual, with its counts."""
    spec: Object = {"mode": "Manual", "components": [component(draw, name) for name in components]}
    for one in spec["components"]:
        (spec if one["name"] == "api" else one)["replicas"] = draw.randint(1, 3)
    return spec | {"tiers": tiers(draw)} | optional(draw)


def anything(draw: random.Random, components: Sequence[str]) -> Object:
    """Each rule of the schema is kept."""
    rotation = draw.choice(
        [
            {"strategy": "Canary", "canary": {"podsPercent": draw.randint(1, 50)}},
            {"strategy": "Scheduled", "at": draw.choice(["2020-01-01T00:00:00Z", "2099-01-01T00:00:00Z"])},
            {"strategy": "Immediate", "historyLimit": draw.randint(0, 5)},
        ]
    )
    changed = {"rotation": rotation, "enforcement": draw.choice(["Enforce", "Audit"])}
    paused = {name: draw.random() < 0.3 for name in ("scaleUp", "scaleDown", "tiers")}
    spec: Object = {"mode": draw.choice(["Auto", "Recommend", "Manual"]), "paused": paused}
    spec["components"] = [component(draw, name) for name in components]
    return spec | {"tiers": tiers(draw) | changed} | optional(draw)


def component(draw: random.Random, name: str) -> Object:
    low = draw.randint(1, 2)
    schedule = {"name": "always", "cron": "* * * * *", "duration": "168h", "min": low}
    drain = {"timeout": f"{draw.randint(0, 60)}s", "settle": "0s"}
    bounds: Object = {"name": name, "minReplicas": low, "maxReplicas": draw.randint(low, 3), "drain": drain}
    return bounds | ({"schedule": [schedule]} if draw.random() < 0.3 else {})


def tiers(draw: random.Random) -> Object:
    names = ["anonymous", "free", *draw.sample(["pro", "team", "own"], draw.randint(0, 3))]
    return {"definitions": [_definition(draw, name) for name in names]}


def _definition(draw: random.Random, name: str) -> Object:
    policy = {"name": name, "quota": draw.randint(10, 9999), "window": draw.choice([1, 60, 3600])}
    policy |= {"mode": draw.choice(["enforce", "shadow"]), "onStoreFailure": draw.choice(["local", "open", "closed"])}
    return {"name": name, "criticality": draw.choice(["sheddable", "critical"]), "policies": [policy]}


def optional(draw: random.Random) -> Object:
    """What most specs leave out."""
    budget = {"maxReplicaHours": draw.randint(1000, 9999), "per": draw.choice(["Day", "Week", "Month"])}
    breaker = {"failureThreshold": draw.randint(0, 10), "openSeconds": draw.randint(1, 60)}
    return {
        **({"budget": budget} if draw.random() < 0.5 else {}),
        **({"circuitBreaker": breaker} if draw.random() < 0.5 else {}),
    }
