"""Renders deploy/grafana/dashboards.yaml to the JSON that Grafana imports; called by `./dev generate grafana`.

Hand-kept JSON says each panel forty lines long and in six files; what differs between panels is five words. Nothing has a uid or
an id: Grafana gives its own, so that a dashboard can be installed twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

FOLDER: Final = Path(__file__).resolve().parent.parent / "deploy" / "grafana"
SOURCE: Final = FOLDER / "dashboards.yaml"
COLUMNS: Final = 24  # of Grafana's grid
HEIGHT: Final = 8
SELECTORS: Final = {
    "SEL": 'namespace=~"$namespace", release=~"$release", job=~"$component"',
    "OBJ": 'namespace=~"$namespace", component=~"$component"',  # the operator's series about ScalableApis
    "OWN": 'release=~"$release"',  # and about itself
}
"""The names that expressions may use for the choice made at the top of the page."""
DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}  # the page's variable, not a fixed one

NO_TIME: Final = {"id": "organize", "options": {"excludeByName": {"Time": True}}}  # a table of this moment


def sources() -> Sequence[Mapping[str, Any]]:
    """The dashboards as they are written."""
    found: Sequence[Mapping[str, Any]] = yaml.safe_load(SOURCE.read_text())
    return found


def render() -> Mapping[str, str]:
    """Path → content of each dashboard."""
    return {f"deploy/grafana/{one['file']}.json": text(dashboard(one)) for one in sources()}


def text(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def dashboard(source: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "title": f"Scalable API / {source['title']}",
        "description": source["description"],
        "tags": ["scalable-api"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "links": [{"type": "dashboards", "title": "Scalable API", "tags": ["scalable-api"], "asDropdown": True}],
        "templating": {"list": list(variables(source))},
        "panels": list(placed(source["panels"])),
    }


def variables(source: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Data source, namespace, release, component: of the jobs that the page is about, unless it names other series."""
    yield {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}
    jobs = f'job=~"{source["components"]}"'
    within = f'up{{{jobs}, namespace=~"$namespace"}}'
    usual = {"namespace": f"up{{{jobs}}}, namespace", "release": f"{within}, release", "component": f"{within}, job"}
    for name, values in (usual | source.get("choices", {})).items():
        yield choice(name, f"label_values({values})")


def choice(name: str, query: str) -> dict[str, Any]:
    """`.*` stands for all: a Prometheus that sets no `release` shows everything as well."""
    return {
        "name": name,
        "label": name.capitalize(),
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,  # when the time range changes
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def placed(sources: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Panels from left to right, line by line."""
    x = y = 0
    for source in sources:
        width = source.get("width", COLUMNS // 2)
        if x + width > COLUMNS:
            x, y = 0, y + HEIGHT
        yield panel(source, {"x": x, "y": y, "w": width, "h": HEIGHT})
        x += width


def panel(source: Mapping[str, Any], place: Mapping[str, int]) -> dict[str, Any]:
    kind = source.get("type", "timeseries")
    queries: Mapping[str, str] = source.get("queries") or {source.get("legend", ""): source["expr"]}
    return {
        "type": kind,
        "title": source["title"],
        "description": source["description"],
        "datasource": DATASOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": source["unit"]}, "overrides": []},
        "options": options(kind),
        "transformations": [NO_TIME] if kind == "table" else [],
        "targets": [target(chr(ord("A") + n), kind, legend, expr) for n, (legend, expr) in enumerate(queries.items())],
    }


def options(kind: str) -> dict[str, Any]:
    if kind == "timeseries":
        return {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}}
    return {"reduceOptions": {"calcs": ["lastNotNull"]}} if kind == "stat" else {}


def target(ref: str, kind: str, legend: str, expr: str) -> dict[str, Any]:
    shape = {"instant": True, "format": "table"} if kind == "table" else {"legendFormat": legend}
    return {"refId": ref, "datasource": DATASOURCE, "expr": selected(expr), **shape}


def selected(expr: str) -> str:
    """With the names of SELECTORS put in."""
    for name, matchers in SELECTORS.items():
        expr = expr.replace(f"{{{name}}}", f"{{{matchers}}}").replace(f"{{{name},", f"{{{matchers},")
    return expr
