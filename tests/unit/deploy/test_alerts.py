"""Rules, their tests and their runbooks in deploy/alerts and docs/runbooks, judged by promtool and by our own command line."""

from __future__ import annotations

import re
import shlex

import pytest
import typer
import yaml

from services.cli.main import app
from tests import dashboards
from tests.harness.prometheus import ALERTS, ROOT, promtool, rules

RUNBOOKS = ROOT / "docs" / "runbooks"
BASE = "https://github.com/scalable-api/scalable-api/blob/main/docs/runbooks/"
PARTS = ("Meaning", "Impact", "Look", "Fix", "Prevent")
TESTS = sorted(ALERTS.glob("*.test.yaml"))
FOUND = {rule["alert"]: rule for rule in rules() if "alert" in rule}
PAGES = {page.stem: page.read_text() for page in RUNBOOKS.glob("*.md") if page.name != "README.md"}
COMMAND = re.compile(r"kubectl scalableapi ([^\n#|`]+)")
PLACES = {"$NS": "shop", "$NAME": "shop", "$COMPONENT": "api", "NAME": "shop", "NS": "shop", "FILE": "shop.yaml"}


def test_prometheus_takes_the_rules():
    """Syntax, templates of the annotations, and no rule twice."""
    checked = promtool("check", "rules", "--lint=all", "--lint-fatal", *sorted(ALERTS.glob("*.rules.yaml")))
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.stem)
def test_alerts_fire_and_stay_silent(file):
    """promtool's own unit tests pass."""
    tested = promtool("test", "rules", file.name)
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_each_rules_file_has_tests():
    """One beside the other, each about its own file."""
    named = {test.name: yaml.safe_load(test.read_text())["rule_files"] for test in TESTS}
    assert named == {f.name.replace("rules", "test"): [f.name] for f in ALERTS.glob("*.rules.yaml")}


def expectations() -> dict[str, set[bool]]:
    """Alert → whether its tests expect it to fire, to be silent, or have both."""
    found: dict[str, set[bool]] = {}
    for file in TESTS:
        for test in yaml.safe_load(file.read_text())["tests"]:
            for asked in test["promql_expr_test"]:
                if name := re.search(r'ALERTS\{alertname="(\w+)", alertstate="firing"', asked["expr"]):
                    found.setdefault(name[1], set()).add(bool(asked["exp_samples"]))
    return found


def test_each_alert_has_a_firing_and_a_silent_case():
    """An alert that nobody has seen fire may be unable to; one that nobody has seen silent may never be."""
    assert expectations() == {name: {True, False} for name in FOUND}


@pytest.mark.parametrize("name", FOUND)
def test_an_alert_says_what_whom_and_where_to_read_on(name):
    """Severity, two sentences, and its own runbook."""
    alert = FOUND[name]
    assert alert["labels"]["severity"] in {"page", "ticket"}
    said = alert["annotations"]
    assert said.keys() == {"summary", "description", "runbook_url"}
    assert said["runbook_url"] == f"{BASE}{name}.md"
    assert len(said["summary"]) <= 100
    assert said["description"].endswith(".")


def test_each_alert_has_a_runbook_and_each_runbook_an_alert():
    """Nobody is sent to a page that is not there, no page is about an alert that is gone."""
    assert set(PAGES) == set(FOUND)


@pytest.mark.parametrize("name", PAGES)
def test_a_runbook_has_its_parts_in_order(name):
    """Meaning, impact, look, fix, prevent; the page says what the rule says about its urgency."""
    page = PAGES[name]
    assert page.startswith(f"# {name}\n\n{FOUND[name]['labels']['severity'].capitalize()}.\n")
    assert re.findall(r"^\*\*(\w+)\.\*\*", page, re.MULTILINE) == list(PARTS)
    assert "```sh\n" in page


@pytest.mark.parametrize("name", PAGES)
def test_commands_of_a_runbook_are_ours(name):
    """Each `kubectl scalableapi …` is parsed by our own command line, unknown words and options are refused there."""
    for line in COMMAND.findall(PAGES[name]):
        words = [PLACES.get(word, word) for word in shlex.split(line)]
        if words == ["…"]:
            continue
        assert parse(words) in words


def parse(words: list[str]) -> str | None:
    """The command's name; raises a usage error, as the command line would."""
    command = typer.main.get_command(app)
    while words and (within := getattr(command, "commands", {}).get(words[0])):
        command, words = within, words[1:]
    assert words[:1] == [] or not hasattr(command, "commands") or words[0].startswith("-"), words
    command.make_context("scalable-api", words)
    return command.name


def test_a_command_that_is_not_ours_is_refused():
    """The check above can fail."""
    for words in (["statuz", "shop"], ["status", "shop", "--what"], ["tiers", "undo", "shop"]):
        with pytest.raises(Exception, match=r"statuz|--what|undo"):
            parse(words)


def test_dashboards_that_runbooks_send_to_exist():
    """`Dashboard *SLO*, *Worst routes*`: both are titles."""
    titles = {one["title"] for one in dashboards.sources()}
    titles |= {panel["title"] for one in dashboards.sources() for panel in one["panels"]}
    elsewhere = {"explain", "Status", "Targets"}  # our command, Prometheus' own pages
    named = {name for page in PAGES.values() for name in re.findall(r"(?<!\*)\*([A-Za-z][\w ]+)\*(?!\*)", page)}
    assert named - elsewhere <= titles
    assert len(named) > 10
