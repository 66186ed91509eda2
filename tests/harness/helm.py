"""The charts as Helm renders them: values in, Kubernetes objects out, in this process and without a cluster.

Helm 4 is a library here (`helm_python`), 2 ms a render; equal calls are rendered once. Callers: tests/unit/charts, the
generator of manifests/base, whoever needs to know what a chart makes.
"""

from __future__ import annotations

import functools
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import helm_python
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHARTS: Final = ROOT / "charts"
HOMES: Final[Mapping[str, str]] = {"scalable-api-operator": "scalable-api-system", "scalable-api": "scalable-api"}
"""Chart → the namespace README installs it to; the release is named after the chart."""

Object = dict[str, Any]
Values = Mapping[str, Any]


class RenderError(Exception):
    """What Helm says: a value the schema refuses, by its path, or a template's own `fail`."""


@dataclass(frozen=True)
class Rendered:
    """`templates`: file below templates/ → its objects; hooks and helm tests are among them."""

    templates: Mapping[str, tuple[Object, ...]]
    notes: str

    @property
    def objects(self) -> tuple[Object, ...]:
        return tuple(thing for things in self.templates.values() for thing in things)

    @property
    def lasting(self) -> tuple[Object, ...]:
        """What stays installed: neither hooks nor helm tests."""
        return tuple(thing for thing in self.objects if "helm.sh/hook" not in annotated(thing))

    def kind(self, *kinds: str) -> tuple[Object, ...]:
        return tuple(thing for thing in self.objects if thing["kind"] in kinds)

    def one(self, kind: str, name: str) -> Object:
        (found,) = [thing for thing in self.kind(kind) if thing["metadata"]["name"] == name]
        return found


def annotated(thing: Object) -> Mapping[str, str]:
    return thing["metadata"].get("annotations") or {}


def pods(rendered: Rendered) -> Iterator[tuple[Object, Object]]:
    """Each object that makes pods with its pod template; a bare Pod is its own."""
    for thing in rendered.objects:
        if thing["kind"] == "Pod":
            yield thing, thing
        elif thing["kind"] in {"Deployment", "StatefulSet", "DaemonSet", "Job"}:
            yield thing, thing["spec"]["template"]


def containers(pod: Object) -> list[Object]:
    """All of them, the init containers too."""
    return [*(pod["spec"].get("initContainers") or []), *pod["spec"]["containers"]]


def render(
    chart: str, values: Values | None = None, *, name: str = "", namespace: str = "", upgrade: bool = False
) -> Rendered:
    """As `helm install` (or `upgrade`) would. Raises RenderError."""
    home = CHARTS / chart
    return _rendered(home, stamp(home), json.dumps(values or {}), name or chart, namespace or HOMES[chart], upgrade)


def render_below(chart: str, values: Values | None = None) -> Rendered:
    """As the only subchart of somebody's chart `umbrella`, which gives its values under the chart's name."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "umbrella"
        shutil.copytree(CHARTS / chart, home / "charts" / chart)
        version = yaml.safe_load((CHARTS / chart / "Chart.yaml").read_text())["version"]
        about = {
            "apiVersion": "v2",
            "name": "umbrella",
            "version": "1.0.0",
            "dependencies": [{"name": chart, "version": version, "condition": f"{chart}.enabled"}],
        }
        (home / "Chart.yaml").write_text(yaml.safe_dump(about))
        return _rendered(home, stamp(home), json.dumps(values or {}), "umbrella", HOMES[chart], upgrade=False)


def lint(chart: str, values: Values | None = None) -> list[str]:
    """What `helm lint --strict` complains of: errors and warnings; 1 is mere information."""
    report = helm_python.lint(CHARTS / chart, dict(values or {}), strict=True, namespace=HOMES[chart])
    return [f"{m['path']}: {m['error']}" for m in report["messages"] if m["severity"] > 1] + list(report["errors"])


def ci_values(chart: str) -> dict[str, Path]:
    """Name → values file of charts/CHART/ci/."""
    return {file.stem: file for file in sorted((CHARTS / chart / "ci").glob("*.yaml"))}


def load_values(file: Path) -> Object:
    """A values file; an empty one is {}."""
    return yaml.safe_load(file.read_text()) or {}


def stamp(home: Path) -> tuple[tuple[str, int], ...]:
    """What of a chart decides a render: its files' times, so that an edited chart is rendered anew."""
    return tuple((str(f), f.stat().st_mtime_ns) for f in sorted(home.rglob("*")) if f.is_file())


@functools.cache
def _chart(home: Path, _stamp: tuple[tuple[str, int], ...]) -> helm_python.Chart:
    return helm_python.Chart.load(home)


@functools.cache
def _rendered(
    home: Path, seal: tuple[tuple[str, int], ...], values: str, name: str, namespace: str, upgrade: bool
) -> Rendered:
    try:
        texts = _chart(home, seal).render(
            json.loads(values), name=name, namespace=namespace, is_install=not upgrade, is_upgrade=upgrade
        )
    except helm_python.HelmError as error:
        raise RenderError(str(error)) from None
    templates = {path.partition("/templates/")[2]: text for path, text in texts.items()}
    notes = templates.pop("NOTES.txt", "")
    return Rendered({path: _objects(path, text) for path, text in templates.items()}, notes)


def _objects(path: str, text: str) -> tuple[Object, ...]:
    try:
        return tuple(thing for thing in yaml.load_all(text, _Strict) if thing)
    except yaml.YAMLError as error:
        raise RenderError(f"{path}: {error}\n{text}") from None


class _Strict(yaml.CSafeLoader):
    """A key twice is an error, as it is for the API server's strict decoding."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if twice := {key for key in keys if keys.count(key) > 1}:
            raise yaml.constructor.ConstructorError(None, None, f"twice: {sorted(map(str, twice))}", node.start_mark)
        return super().construct_mapping(node, deep)
