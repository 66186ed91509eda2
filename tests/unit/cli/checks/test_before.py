"""What `check --pre` makes of what a cluster answers; asking a real one: tests/cluster/test_cli.py."""

from __future__ import annotations

from typing import Any

import pytest

from scalable_operator.resources import rbac
from services.cli.checks.before import (
    GRANTED,
    MADE,
    MADE_INSIDE,
    definition,
    monitoring,
    needed,
    rights,
    storage,
    version,
)
from services.cli.checks.finding import Mark
from services.schema.crd import GROUP, SCHEMA_VERSION
from tests.harness import helm


def test_what_is_granted_is_what_the_operator_has() -> None:
    """The operator's own table, row by row: who lacks one of them cannot give it away."""
    assert GRANTED == rbac.RULES


def test_what_is_made_is_what_the_charts_hold() -> None:
    """Both charts as README installs them: every kind is asked for, in the namespace or in the cluster."""
    values = {"scalable-api-operator": {}, "scalable-api": {"devDatastores": {"enabled": True}}}
    kinds = {
        (thing["apiVersion"].rpartition("/")[0], plural(thing["kind"]), "namespace" in thing["metadata"])
        for chart, given in values.items()
        for thing in helm.render(chart, given).objects
    }
    assert {(group, what) for group, what, inside in kinds if inside} <= set(MADE_INSIDE)
    assert {(group, what) for group, what, inside in kinds if not inside} <= set(MADE)


def plural(kind: str) -> str:
    word = kind.lower()
    return f"{word[:-1]}ies" if word.endswith("y") else f"{word}s"


@pytest.mark.parametrize(
    ("said", "mark"), [("v1.30.0", Mark.good), ("v1.37.1+k3s1", Mark.good), ("v1.29.9", Mark.bad), ("next", Mark.bad)]
)
def test_version(said: str, mark: Mark) -> None:
    """From 1.30 on; what is no version is none."""
    found = version({"serverVersion": {"gitVersion": said}})
    assert (found.mark, said in found.text) == (mark, True)


def test_definition() -> None:
    """Not there yet is right before an installation; another schema than ours is worth a look."""
    assert definition(None).mark is Mark.good
    told = {"metadata": {"annotations": {f"{GROUP}/schema-version": str(SCHEMA_VERSION)}}}
    assert definition(told).mark is Mark.good
    others: list[Any] = [{"metadata": {}}, {"metadata": {"annotations": {f"{GROUP}/schema-version": "0"}}}]
    for other in others:
        assert (definition(other).mark, "upgrade" in definition(other).fix) == (Mark.look, True)


def test_rights_that_are_missing_are_told_by_resource() -> None:
    """One line each with the verbs and where; one line if nothing is missing."""
    wanted = needed("shop")
    (fine,) = rights(dict.fromkeys(wanted, True))
    assert (fine.mark, str(len(wanted)) in fine.text) == (Mark.good, True)
    missing = [("", "pods", "list", ""), ("", "pods", "watch", ""), ("apps", "deployments", "create", "shop")]
    found = [f.text for f in rights({right: right not in missing for right in wanted})]
    assert found == [
        "you may not list, watch pods in every namespace",
        "you may not create deployments.apps in shop",
    ]


def test_storage() -> None:
    """Only the default one counts, and only the development stores need it."""
    plain: dict[str, Any] = {"metadata": {"name": "slow"}}
    default = {"metadata": {"name": "fast", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}}
    assert (storage([plain, default]).mark, storage([plain]).mark) == (Mark.good, Mark.look)


def test_monitoring_names_the_labels() -> None:
    """The fix sets what Prometheus selects by, dots escaped as helm wants them; an empty selector takes all, none takes nothing."""
    selecting = {"spec": {"serviceMonitorSelector": {"matchLabels": {"app.io/release": "kps"}}}}
    found = monitoring([selecting, {"spec": {}}])
    assert (found.mark, found.fix) == (Mark.look, "--set monitoring.labels.app\\.io/release=kps")
    assert monitoring([{"spec": {"serviceMonitorSelector": {}}}]).mark is Mark.good
    nobody = [monitoring([]), monitoring([{"spec": {}}])]
    assert [(one.mark, one.text) for one in nobody] == [(Mark.look, "no Prometheus selects ServiceMonitors")] * 2
    assert monitoring(None).mark is Mark.good
