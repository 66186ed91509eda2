"""What the chart tests rest on can say no: schemas find slips, Helm's lint and refusals come through, a doubled key is an error."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.chart_generators import END, with_table, without_helm
from tests.harness import helm
from tests.harness.kubernetes_schemas import MINORS, complaints

CHART = "scalable-api-operator"
METADATA = {"name": "a", "namespace": "b", "labels": {}}


@pytest.mark.parametrize(
    ("thing", "said"),
    [
        ({"apiVersion": "v1", "kind": "Service", "spec": {"prots": []}}, "'prots' was unexpected"),
        ({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": "two"}}, "'two' is not"),
        (
            {"apiVersion": "monitoring.coreos.com/v1", "kind": "ServiceMonitor", "spec": {"endpoints": []}},
            "'selector' is a required",
        ),
        (
            {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "spec": {"trigers": []}},
            "'trigers' was unexpected",
        ),
        (
            {"apiVersion": "scalableapi.io/v1", "kind": "ScalableApi", "spec": {"components": "all"}},
            "'all' is not of type 'array'",
        ),
        (
            {
                "apiVersion": "scalableapi.io/v1",
                "kind": "ScalableApi",
                "spec": {"components": [{"name": "api", "minReplcas": 1}]},
            },
            "minReplcas",
        ),
    ],
)
def test_slips_are_found(thing: dict[str, Any], said: str) -> None:
    """An unknown field, a wrong type, a missing field: named, of Kubernetes' own kinds and of others."""
    assert any(said in line for line in complaints({**thing, "metadata": METADATA})), complaints(
        {**thing, "metadata": METADATA}
    )


def test_minors_are_told() -> None:
    """A fault names the minors that find it."""
    (line,) = complaints({"apiVersion": "v1", "kind": "Secret", "metadata": METADATA, "dta": {}})
    assert line.endswith(f"({', '.join(MINORS)})")


def test_an_unserved_kind_is_no_pass() -> None:
    """A kind that nobody has a schema for is an error, not a silent yes."""
    with pytest.raises(LookupError, match="serves no PodSecurityPolicy"):
        complaints({"apiVersion": "policy/v1beta1", "kind": "PodSecurityPolicy", "metadata": METADATA})


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A chart that may be broken."""
    shutil.copytree(helm.CHARTS / CHART, tmp_path / CHART)
    monkeypatch.setattr(helm, "CHARTS", tmp_path)
    return tmp_path / CHART


def test_an_edited_chart_is_rendered_anew(copy: Path) -> None:
    """What is remembered is that of the chart's present files."""
    assert "a new note" not in helm.render(CHART).notes
    (copy / "templates" / "NOTES.txt").write_text("a new note")
    assert helm.render(CHART).notes == "a new note"


def test_a_doubled_key_is_an_error(copy: Path) -> None:
    """YAML that says one key twice is refused, as the API server's strict decoding does."""
    (copy / "templates" / "twice.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, name: b}\n")
    with pytest.raises(helm.RenderError, match=r"twice\.yaml: twice: \['name'\]"):
        helm.render(CHART)


def test_lint_is_heard(copy: Path) -> None:
    """What Helm's lint warns of is a finding."""
    assert helm.lint(CHART) == []
    (copy / "templates" / "bad.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: Not_A_Name}\n")
    assert any("Not_A_Name" in line for line in helm.lint(CHART))


def test_helm_leaves_no_mark() -> None:
    """manifests/base says nothing of Helm, in pod templates neither; what it was made of is untouched."""
    labels = {"app": "a", "helm.sh/chart": "c-1", "app.kubernetes.io/managed-by": "Helm"}
    notes = {"helm.sh/resource-policy": "keep"}
    thing: dict[str, Any] = {
        "metadata": {"labels": labels, "annotations": notes},
        "spec": {"template": {"metadata": {"labels": labels}}},
    }
    bare = {"metadata": {"labels": {"app": "a"}}, "spec": {"template": {"metadata": {"labels": {"app": "a"}}}}}
    assert without_helm(thing) == bare
    assert thing["metadata"]["annotations"] == notes


def test_a_readme_keeps_its_words() -> None:
    """What stands around the table is a person's."""
    first = with_table("# Head\n", "| a |")
    assert first.startswith("# Head\n")
    assert with_table(f"{first}\n## Tail\n", "| b |") == f"{first.replace('| a |', '| b |')}\n## Tail\n"
    assert first.endswith(END)
