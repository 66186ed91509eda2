"""The operator's chart: its rights are the code's, its environment is what the code reads, its helm test can say no."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, ClassVar

import pytest

from scalable_operator.lease import NAME
from scalable_operator.resources import rbac
from services.runtime.settings import OperatorSettings, load
from services.schema.crd import crd
from tests.harness import helm
from tests.unit.charts.scenes import scene, values, with_values

CHART = "scalable-api-operator"


def bare(thing: helm.Object) -> helm.Object:
    """Without what no right depends on: labels, and the ServiceAccount's own mount of tokens."""
    kept = {"name": thing["metadata"]["name"]}
    if "namespace" in thing["metadata"]:
        kept["namespace"] = thing["metadata"]["namespace"]
    return {k: v for k, v in thing.items() if k != "automountServiceAccountToken"} | {"metadata": kept}


def granted(rendered: helm.Rendered) -> list[helm.Object]:
    kinds = ("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")
    found = [bare(t) for t in rendered.kind(*kinds) if "aggregate" not in str(t["metadata"])]
    return sorted(found, key=str)


def test_rights_are_the_codes() -> None:
    """Account, roles and bindings are those of manifests/rbac, which the code makes, and none besides."""
    assert granted(scene(CHART, "default")) == sorted(rbac.clusterwide(), key=str)


def test_rights_in_namespaces_are_the_codes() -> None:
    """With watchNamespaces there is no ClusterRole: the same rights in each namespace named, and WATCH_NAMESPACES says them."""
    rendered = scene(CHART, "namespaced")
    expected = {str(t): t for n in ("shop", "shop-staging") for t in rbac.namespaced(n)}
    assert granted(rendered) == [expected[key] for key in sorted(expected)]
    assert rendered.kind("ClusterRole", "CustomResourceDefinition", "ValidatingAdmissionPolicy") == ()
    assert environment(rendered)["WATCH_NAMESPACES"] == "shop,shop-staging"


def test_no_rights_on_request() -> None:
    """rbac.create=false leaves them to who applies manifests/rbac."""
    rendered = with_values(CHART, {"rbac": {"create": False, "aggregate": False}})
    assert rendered.kind("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding") == ()


def environment(rendered: helm.Rendered) -> dict[str, str]:
    (deployment,) = rendered.kind("Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return {e["name"]: e.get("value", "scalable-api-system") for e in container["env"]}


def test_environment_is_what_the_operator_reads() -> None:
    """Each name is a setting of the operator, and the settings read what the values say."""
    given = {
        "watchNamespaces": ["shop"],
        "settings": {
            "logLevel": "debug",
            "pollsPerSecond": 20,
            "prometheusServers": {"a": "http://a:1", "b": "https://b"},
        },
    }
    env = environment(with_values(CHART, given))
    assert {name.lower() for name in env} <= OperatorSettings.model_fields.keys()
    read = load(OperatorSettings, env)
    assert read.watch_namespaces == ("shop",)
    assert (read.log_level, read.polls_per_second) == ("debug", 20)
    assert read.prometheus_servers == {"a": "http://a:1", "b": "https://b"}
    assert read.pod_namespace == "scalable-api-system"
    assert read.control_port == 9180


def test_grace_is_longer_than_stopping() -> None:
    """SIGKILL comes after the writes are finished and the Lease is given back."""
    (deployment,) = scene(CHART, "default").kind("Deployment")
    fields = OperatorSettings.model_fields
    grace = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert (
        grace > fields["drain_delay_seconds"].default + fields["drain_seconds"].default + 20
    )  # kopf's ultimate_exiting_timeout


def test_the_lease_goes_with_the_release() -> None:
    """The Lease is rendered under the code's name, and empty: who leads fills it in."""
    for name in ("default", "everything"):
        (lease,) = scene(CHART, name).kind("Lease")
        assert lease["metadata"]["name"] == NAME
        assert "spec" not in lease


@pytest.mark.parametrize("name", ["default", "everything"])
def test_crd_is_the_codes(name: str) -> None:
    """The chart's CRD is the one of services/schema, field by field."""
    (rendered,) = scene(CHART, name).kind("CustomResourceDefinition")
    made = crd()
    assert rendered["spec"] == made["spec"]
    assert rendered["metadata"]["name"] == made["metadata"]["name"]
    assert made["metadata"]["annotations"].items() <= helm.annotated(rendered).items()


def test_aggregated_roles_cover_the_kind() -> None:
    """Who may view a namespace reads ScalableApis; who may edit it writes and scales them; nobody writes a status."""
    rendered = scene(CHART, "default")
    rules = {
        to: [
            r
            for role in rendered.kind("ClusterRole")
            if f"rbac.authorization.k8s.io/aggregate-to-{to}" in role["metadata"]["labels"]
            for r in role["rules"]
        ]
        for to in ("view", "edit", "admin")
    }
    assert {v for r in rules["view"] for v in r["verbs"]} == {"get", "list", "watch"}
    assert rules["edit"] == rules["admin"]
    writable = {what for r in rules["edit"] for what in r["resources"]}
    assert writable == {"scalableapis", "scalableapis/scale"}


def test_policy_names_the_account() -> None:
    """The policy on pods looks at the operator's account alone, wherever it is and whatever it is called; unsure, it refuses."""
    rendered = scene(CHART, "everything")
    (policy,) = rendered.kind("ValidatingAdmissionPolicy")
    assert policy["spec"]["failurePolicy"] == "Fail"
    (condition,) = policy["spec"]["matchConditions"]
    assert '"system:serviceaccount:operators:operator"' in condition["expression"]
    (binding,) = rendered.kind("ValidatingAdmissionPolicyBinding")
    assert binding["spec"] == {"policyName": policy["metadata"]["name"], "validationActions": ["Deny"]}


def test_notes_warn() -> None:
    """NOTES name what is missing: a second process, monitoring, the policy."""
    quiet = {"monitoring": {"enabled": True}}
    assert "!" not in with_values(CHART, quiet).notes
    assert "replicas=1" in with_values(CHART, quiet, {"replicas": 1}).notes
    assert "deletionCostPolicy" in with_values(CHART, quiet, {"deletionCostPolicy": {"enabled": False}}).notes
    assert "monitoring.enabled=false" in with_values(CHART).notes
    assert "removes the CRD" in with_values(CHART, {"crds": {"keep": False}}).notes


def test_scraping_is_let_in() -> None:
    """The control port is closed but to the helm test, until there is monitoring or a peer is named."""
    sources = {
        name: scene(CHART, name).kind("NetworkPolicy")[0]["spec"]["ingress"][0]["from"]
        for name in ("default", "monitoring", "everything")
    }
    assert [list(s) for s in sources["default"]] == [["podSelector"]]
    assert sources["monitoring"][1:] == values(CHART, "monitoring")["networkPolicy"]["scrapeFrom"]
    assert sources["everything"][1:] == [{"namespaceSelector": {}}]
    assert with_values(CHART, {"networkPolicy": {"enabled": False}}).kind("NetworkPolicy") == ()


class Process(BaseHTTPRequestHandler):
    """An operator's control port."""

    ready: ClassVar[int] = 200
    leads: ClassVar[float] = 1.0

    def do_GET(self) -> None:
        body = f"# TYPE operator_leader gauge\noperator_leader {self.leads}\n" if self.path == "/metrics" else "ok\n"
        self.send_response(self.ready if self.path == "/readyz" else 200)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def ready_test() -> Iterator[dict[str, Any]]:
    """files/ready.py's names, its port that of a control port on loopback."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Process)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    names = runpy.run_path(str(helm.CHARTS / CHART / "files" / "ready.py"))
    names["complaint"].__globals__["PORT"] = server.server_port
    try:
        yield names
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_helm_test_can_say_no(ready_test: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Ready, and one leads: 0. Too few, none that leads, one that is not ready: what is wrong."""
    complaint = ready_test["complaint"]
    assert complaint("127.0.0.1", 1) == ""
    assert complaint("127.0.0.1", 2) == "1 of 2 processes"
    monkeypatch.setattr(Process, "leads", 0.0)
    assert complaint("127.0.0.1", 1) == "0 leaders"
    monkeypatch.setattr(Process, "ready", 503)
    with pytest.raises(OSError, match="503"):
        complaint("127.0.0.1", 1)


def test_helm_test_runs_that_script() -> None:
    """The pod of `helm test` runs files/ready.py, asks the control Service and wants every replica."""
    pod = scene(CHART, "everything").one("Pod", "a-name-as-long-as-somebody-may-take-for-operator-ready")
    (container,) = pod["spec"]["containers"]
    assert container["command"] == ["python", "-c"]
    script, host, replicas = container["args"]
    assert script.strip() == (helm.CHARTS / CHART / "files" / "ready.py").read_text().strip()
    assert host == "a-name-as-long-as-somebody-may-take-for-operator-control.operators"
    assert replicas == "3"
