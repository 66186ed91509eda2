"""The dashboards in deploy/grafana: what Grafana needs to import them, and that Prometheus can read what they ask."""

from __future__ import annotations

import json
import re
from itertools import combinations
from typing import Any

import pytest
import yaml

from tests import dashboards
from tests.harness.prometheus import metrics, promtool, without_variables

PAGES: dict[str, dict[str, Any]] = {f.stem: json.loads(f.read_text()) for f in dashboards.FOLDER.glob("*.json")}
PANELS = [(name, panel) for name, page in PAGES.items() for panel in page["panels"]]
UNITS = {"none", "short", "s", "bytes", "Bps", "reqps", "ops", "percentunit"}
"""Of Grafana's; a misspelt one is shown as a word behind each number."""

each_page = pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
each_panel = pytest.mark.parametrize("panel", [p for _, p in PANELS], ids=[f"{n}: {p['title']}" for n, p in PANELS])


def test_the_files_are_what_the_source_says():
    """Six pages, none of one that is gone; `./dev check` compares their content."""
    assert set(PAGES) == {one["file"] for one in dashboards.sources()}
    assert len(PAGES) == 6


@each_page
def test_a_page_can_be_installed_anywhere(page):
    """No uid or id of ours, so two installations do not overwrite each other; the data source is the reader's choice."""
    assert not {"id", "uid"} & page.keys()
    assert page["description"]
    assert all(panel["datasource"]["uid"] == "${datasource}" and "id" not in panel for panel in page["panels"])


@each_page
def test_a_page_asks_for_data_source_namespace_release_and_component(page):
    """In this order, all of everything at first."""
    found = page["templating"]["list"]
    assert [one["name"] for one in found] == ["datasource", "namespace", "release", "component"]
    assert all(one["allValue"] == ".*" for one in found[1:])


@each_page
def test_expressions_use_no_variable_that_the_page_lacks(page):
    """Grafana would send it as it stands."""
    known = {one["name"] for one in page["templating"]["list"]} | {"__rate_interval", "__range"}
    used = {name for panel in page["panels"] for t in panel["targets"] for name in re.findall(r"\$(\w+)", t["expr"])}
    assert used <= known
    assert not re.search(r"\{(SEL|OBJ|OWN)", json.dumps(page["panels"]))


@each_page
def test_panels_lie_beside_each_other(page):
    """Within the grid's 24 columns, none over another, no title twice."""
    places = [panel["gridPos"] for panel in page["panels"]]
    assert all(place["x"] + place["w"] <= dashboards.COLUMNS for place in places)
    assert not [(a, b) for a, b in combinations(places, 2) if overlap(a, b)]
    titles = [panel["title"] for panel in page["panels"]]
    assert len(titles) == len(set(titles))


def overlap(a: dict[str, int], b: dict[str, int]) -> bool:
    beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
    return not (beside or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"])


@each_panel
def test_a_panel_says_what_it_shows(panel):
    """Title, a sentence, a unit of Grafana's, and at least one question."""
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    assert panel["targets"]
    assert panel["type"] == "table" or all(target["legendFormat"] for target in panel["targets"])


def test_prometheus_can_read_every_expression(tmp_path):
    """Wrapped as recording rules, with the variables as Grafana fills them in."""
    asked = [t["expr"] for _, panel in PANELS for t in panel["targets"]]
    wrapped = [{"record": f"panel:{n}", "expr": without_variables(expr)} for n, expr in enumerate(asked)]
    file = tmp_path / "panels.rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": wrapped}]}))
    checked = promtool("check", "rules", file)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(asked)} rules found" in checked.stdout


def test_names_are_found_in_expressions():
    """What the tests of used series build on: no function, label, word or unit is taken for a series."""
    asked = 'histogram_quantile(0.9, sum by (le, pod) (rate(a_bucket{x="y z", w=~"a|b"}[5m]))) > 0.1 and on (job) slo:b:c offset 5m'
    assert metrics(asked) == {"a_bucket", "slo:b:c"}
    assert metrics("(sum(operator_leader) or vector(0)) != 1") == {"operator_leader"}
    assert metrics("topk(10, x / on (a) group_left (b) y_total)") == {"x", "y_total"}
