"""What the tests of both charts look at: every values file of charts/*/ci/ and manifests/base-values/, rendered once."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any, Final

import pytest

from tests.chart_generators import BASES
from tests.harness import helm

SCENES: Final = [
    *((chart, name) for chart in helm.HOMES for name in helm.ci_values(chart)),
    *((chart, f"base-{folder}") for folder, (chart, _) in BASES.items()),
]
GENERATED_BELOW: Final = "subchart"
"""The values file that is given to the chart by a parent chart."""


each = pytest.mark.parametrize(("chart", "name"), SCENES, ids=[f"{chart}:{name}" for chart, name in SCENES])
"""Runs a test on every values file."""


def values(chart: str, name: str) -> helm.Object:
    """Of charts/*/ci, or what manifests/base is rendered with."""
    base = helm.ROOT / "manifests" / "base-values" / f"{name.removeprefix('base-')}.yaml"
    return helm.load_values(base if name.startswith("base-") else helm.ci_values(chart)[name])


@functools.cache
def scene(chart: str, name: str, *, upgrade: bool = False) -> helm.Rendered:
    given = values(chart, name)
    if name == GENERATED_BELOW:
        shared = given.pop("global", {})
        return helm.render_below(chart, {chart: given, "global": shared})
    return helm.render(chart, given, upgrade=upgrade)


def merged(*trees: Mapping[str, Any]) -> helm.Object:
    """Values over values, as Helm lays them: maps are merged, all else is replaced."""
    out: helm.Object = {}
    for tree in trees:
        for key, value in json.loads(json.dumps(tree)).items():
            both = isinstance(value, dict) and isinstance(out.get(key), dict)
            out[key] = merged(out[key], value) if both else value
    return out


def nested(path: tuple[str, ...] | list[str], value: Any) -> helm.Object:
    """{a: {b: value}} of (a, b)."""
    for key in reversed(path):
        value = {key: value}
    return dict(value)


DEFAULT: Final[Mapping[str, str]] = {"scalable-api-operator": "default", "scalable-api": "external"}
"""Chart → the values file that is no more than what it needs to be rendered."""


def with_values(chart: str, *more: Mapping[str, Any]) -> helm.Rendered:
    """The chart's plainest rendering with values over it."""
    return helm.render(chart, merged(values(chart, DEFAULT[chart]), *more))
