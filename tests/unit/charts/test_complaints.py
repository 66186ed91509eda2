"""What users of charts complain of, most frequent first (platform.md §6), and that ours give no cause."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import pytest

from tests.harness import helm
from tests.unit.charts.scenes import DEFAULT, each, nested, scene, values, with_values

charts = pytest.mark.parametrize("chart", DEFAULT)
COMPONENTS: Final = ("gateway", "balancer", "api")
WORKLOADS: Final = [
    ("scalable-api-operator", (), "scalable-api-operator"),
    *(("scalable-api", (component,), f"scalable-api-{component}") for component in COMPONENTS),
]
"""Chart, where in its values the workload's own stand, its Deployment."""
workloads = pytest.mark.parametrize(("chart", "below", "deployment"), WORKLOADS, ids=[w[2] for w in WORKLOADS])


def template(chart: str, below: tuple[str, ...], deployment: str, own: dict[str, Any]) -> helm.Object:
    """The workload's pod template with these values of its own."""
    rendered = with_values(chart, nested(below, own))
    return dict(rendered.one("Deployment", deployment)["spec"]["template"])


@charts
def test_monitors_have_the_label_that_prometheus_selects_by(chart: str) -> None:
    """monitoring.labels are on monitor and rules; while monitoring is off, the notes name the value and who finds the label out."""
    given = {"monitoring": {"enabled": True, "labels": {"release": "kps"}, "rules": {"enabled": True}}}
    found = with_values(chart, given).kind("ServiceMonitor", "PodMonitor", "PrometheusRule")
    assert {m["kind"] for m in found} == {"ServiceMonitor", "PrometheusRule"}
    assert {m["metadata"]["labels"]["release"] for m in found} == {"kps"}
    notes = with_values(chart).notes
    assert "monitoring.labels" in notes
    assert "check --pre" in notes


@pytest.mark.parametrize("mode", ["operator", "hpa", "keda", "fixed"])
@pytest.mark.parametrize("component", COMPONENTS)
def test_one_writer_of_replicas(component: str, mode: str) -> None:
    """Whoever scales writes `replicas` alone: the chart says them in `fixed` only, and the operator then only watches or recommends."""
    rendered = with_values("scalable-api", nested((component, "scaling"), {"mode": mode, "replicas": 7}))
    deployment = rendered.one("Deployment", f"scalable-api-{component}")
    assert deployment["spec"].get("replicas") == (7 if mode == "fixed" else None)
    scalers = rendered.kind("HorizontalPodAutoscaler", "ScaledObject")
    assert [s["kind"] for s in scalers] == {"hpa": ["HorizontalPodAutoscaler"], "keda": ["ScaledObject"]}.get(mode, [])
    assert all(s["spec"]["scaleTargetRef"]["name"] == f"scalable-api-{component}" for s in scalers)
    (api,) = rendered.kind("ScalableApi")
    (own,) = [c for c in api["spec"]["components"] if c["name"] == component]
    assert own.get("mode", "Auto") == {"hpa": "Recommend", "keda": "Recommend", "fixed": "Manual"}.get(mode, "Auto")
    if mode == "fixed":
        assert "replicas" in rendered.notes


def test_the_crd_is_upgraded_and_survives() -> None:
    """Helm never touches crds/ again: ours is a template, which an upgrade replaces and an uninstall keeps."""
    assert [chart for chart in DEFAULT if (helm.CHARTS / chart / "crds").exists()] == []
    (crd,) = scene("scalable-api-operator", "default").kind("CustomResourceDefinition")
    assert helm.annotated(crd)["helm.sh/resource-policy"] == "keep"
    assert helm.annotated(crd)["scalableapi.io/schema-version"]
    assert with_values("scalable-api-operator", {"crds": {"install": False}}).kind("CustomResourceDefinition") == ()
    (crd,) = with_values("scalable-api-operator", {"crds": {"keep": False}}).kind("CustomResourceDefinition")
    assert "helm.sh/resource-policy" not in helm.annotated(crd)


@workloads
def test_extra_environment(chart: str, below: tuple[str, ...], deployment: str) -> None:
    """extraEnv adds, takes valueFrom, and replaces what the chart says under that name; extraEnvFrom follows the chart's own."""
    secret = {"secretKeyRef": {"name": "mine", "key": "level"}}
    own = {
        "extraEnv": [{"name": "LOG_LEVEL", "valueFrom": secret}, {"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
        "extraEnvFrom": [{"secretRef": {"name": "more"}}],
    }
    (container,) = template(chart, below, deployment, own)["spec"]["containers"]
    env = [(e["name"], e.get("value") or e["valueFrom"]) for e in container["env"]]
    assert ("LOG_LEVEL", secret) in env
    assert ("HTTPS_PROXY", "http://proxy:3128") in env
    assert len(dict(env)) == len(env)
    assert container["envFrom"][-1] == {"secretRef": {"name": "more"}}


@workloads
def test_two_security_contexts(chart: str, below: tuple[str, ...], deployment: str) -> None:
    """The pod's and the container's are values both, merged over the defaults."""
    own = {
        "podSecurityContext": {"runAsUser": 1000710000},
        "containerSecurityContext": {"readOnlyRootFilesystem": False},
    }
    spec = template(chart, below, deployment, own)["spec"]
    assert (spec["securityContext"]["runAsUser"], spec["securityContext"]["runAsNonRoot"]) == (1000710000, True)
    for container in [*spec.get("initContainers", []), *spec["containers"]]:
        assert container["securityContext"]["readOnlyRootFilesystem"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


@workloads
def test_placement_and_extras(chart: str, below: tuple[str, ...], deployment: str) -> None:
    """Volumes, mounts, where it may run, labels and annotations of the pod: each value arrives, and no label of the selector moves."""
    own: dict[str, Any] = {
        "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
        "extraVolumeMounts": [{"name": "ca", "mountPath": "/etc/ca", "readOnly": True}],
        "nodeSelector": {"disk": "fast"},
        "tolerations": [{"operator": "Exists"}],
        "affinity": {"podAffinity": {}},
        "priorityClassName": "high",
        "podLabels": {"app.kubernetes.io/name": "stolen", "mine": "yes"},
        "podAnnotations": {"mine": "too"},
        "terminationGracePeriodSeconds": 222,
        "resources": {"requests": {"cpu": "2"}},
        "serviceAccount": {"create": False, "name": "theirs"},
    }
    pod = template(chart, below, deployment, own)
    spec = pod["spec"]
    assert own["extraVolumes"][0] in spec["volumes"]
    assert own["extraVolumeMounts"][0] in spec["containers"][0]["volumeMounts"]
    for field in ("nodeSelector", "tolerations", "affinity", "priorityClassName", "terminationGracePeriodSeconds"):
        assert spec[field] == own[field]
    assert spec["serviceAccountName"] == "theirs"
    assert spec["containers"][0]["resources"]["requests"]["cpu"] == "2"
    assert pod["metadata"]["labels"]["mine"] == "yes"
    assert pod["metadata"]["labels"]["app.kubernetes.io/name"] == chart
    assert pod["metadata"]["annotations"]["mine"] == "too"


@workloads
@pytest.mark.parametrize(
    ("image", "shared", "expected"),
    [
        ({}, {}, "ghcr.io/scalable-api/{image}:1.0.0"),
        ({"tag": "1.2.3"}, {"imageRegistry": "mirror:5000"}, "mirror:5000/scalable-api/{image}:1.2.3"),
        ({"registry": "r", "repository": "x/y"}, {}, "r/x/y:1.0.0"),
        ({"tag": "1", "digest": "sha256:" + "0" * 64}, {}, "ghcr.io/scalable-api/{image}@sha256:" + "0" * 64),
        (
            {"ref": "localhost:5001/x:dev", "digest": "sha256:" + "0" * 64},
            {"imageRegistry": "m"},
            "localhost:5001/x:dev",
        ),
    ],
)
def test_images_can_be_moved(
    chart: str, below: tuple[str, ...], deployment: str, image: Any, shared: Any, expected: str
) -> None:
    """`ref` wins, a digest beats a tag, global.imageRegistry beats the image's own registry; pull secrets go with the pod."""
    more = {"global": {**shared, "imagePullSecrets": ["login"]}}
    rendered = with_values(chart, nested(below, {"image": image}), more)
    spec = rendered.one("Deployment", deployment)["spec"]["template"]["spec"]
    named = "scalable-api-operator" if not below else f"scalable-api-{below[0]}"
    assert {c["image"] for c in [*spec.get("initContainers", []), *spec["containers"]]} == {
        expected.format(image=named)
    }
    assert spec["imagePullSecrets"] == [{"name": "login"}]


@charts
def test_nothing_is_random_or_asked_of_the_cluster(chart: str) -> None:
    """No dice, no clock, no `lookup`, no switch by what the cluster serves: a render depends on the values alone."""
    forbidden = r"\b(rand[A-Z]\w+|genCA|genSelf\w+|genSigned\w+|genPrivateKey|uuidv4|now|htpasswd|bcrypt|lookup|getHostByName)\b|APIVersions"
    actions = re.compile(r"\{\{(?!-? */\*).*?\}\}", re.DOTALL)
    found = [
        f"{file.name}: {action}"
        for file in (helm.CHARTS / chart / "templates").rglob("*")
        if file.is_file()
        for action in actions.findall(file.read_text())
        if re.search(forbidden, action)
    ]
    assert found == []


@each
def test_images_are_ours_or_official(chart: str, name: str) -> None:
    """No image of a vendor who may take it away, no kubectl sidecar: this project's, or Docker's own postgres and valkey."""
    for _, pod in helm.pods(scene(chart, name)):
        for container in helm.containers(pod):
            image = container["image"]
            assert "bitnami" not in image
            assert "kubectl" not in image
            theirs = image in str(values(chart, name)) or "mirror/" in image
            assert theirs or re.search(r"/scalable-api/scalable-api-\w+|/library/postgres|/valkey/valkey", image)


@charts
def test_dashboards_go_where_grafana_looks(chart: str) -> None:
    """The sidecar's label, its value, the folder and the annotation that names it are values."""
    said = {"enabled": True, "label": "grafana", "labelValue": "yes", "folderAnnotation": "dir", "folder": "Platform"}
    found = with_values(chart, {"monitoring": {"dashboards": said}}).templates["grafana-dashboards.yaml"]
    assert len(found) == len(list((helm.CHARTS / chart / "files" / "dashboards").glob("*.json")))
    for board in found:
        assert board["metadata"]["labels"]["grafana"] == "yes"
        assert helm.annotated(board) == {"dir": "Platform"}


@charts
def test_alerts_are_those_of_the_project(chart: str) -> None:
    """The PrometheusRule holds deploy/alerts' groups, expressions and templates unchanged, but for the runbooks' address."""
    given = {"monitoring": {"rules": {"enabled": True}, "runbookBaseUrl": "https://wiki.example.com"}}
    (rule,) = with_values(chart, given).kind("PrometheusRule")
    files = sorted((helm.CHARTS / chart / "files" / "alerts").glob("*.rules.yaml"))
    groups = [group for file in files for group in helm.load_values(file)["groups"]]
    alerts = [alert for group in groups for alert in group["rules"] if "alert" in alert]
    for alert in alerts:
        alert["annotations"]["runbook_url"] = f"https://wiki.example.com/{alert['alert']}.md"
    assert rule["spec"]["groups"] == groups
    assert alerts


@pytest.mark.parametrize("on", ["ingress", "httpRoute"])
def test_any_way_in(on: str) -> None:
    """An Ingress of any class, or an HTTPRoute of any Gateway, leads to the gateway's Service and its port."""
    given: dict[str, Any] = {
        "ingress": {"enabled": True, "className": "mine", "hosts": ["api.example.com"]},
        "httpRoute": {"enabled": True, "parentRefs": [{"name": "public", "namespace": "edge"}]},
    }
    rendered = with_values("scalable-api", {on: given[on]}, {"gateway": {"service": {"port": 8081}}})
    (way,) = rendered.kind("Ingress", "HTTPRoute")
    (service,) = [s for s in rendered.kind("Service") if s["metadata"]["name"] == "scalable-api-gateway"]
    assert [p["port"] for p in service["spec"]["ports"]] == [8081]
    if on == "ingress":
        assert way["spec"]["ingressClassName"] == "mine"
        backends = [p["backend"]["service"] for r in way["spec"]["rules"] for p in r["http"]["paths"]]
        assert backends in ([{"name": "scalable-api-gateway", "port": p}] for p in ({"number": 8081}, {"name": "http"}))
    else:
        assert way["spec"]["parentRefs"] == [{"name": "public", "namespace": "edge"}]
        assert way["spec"]["rules"][0]["backendRefs"] == [{"name": "scalable-api-gateway", "port": 8081}]


@charts
def test_namespace_is_not_hard_wired(chart: str) -> None:
    """namespaceOverride moves every object, and who is named in bindings, with it."""
    rendered = with_values(chart, {"namespaceOverride": "elsewhere"})
    found = {t["metadata"]["namespace"] for t in rendered.objects if "namespace" in t["metadata"]}
    assert found == {"elsewhere"}
    for binding in rendered.kind("RoleBinding", "ClusterRoleBinding"):
        for subject in binding["subjects"]:
            assert subject["namespace"] in {"elsewhere", "scalable-api-system" if chart == "scalable-api" else ""}


@pytest.mark.parametrize(
    ("store", "complaint"),
    [
        ("postgres", r"postgres\.url, postgres\.existingSecret or devDatastores"),
        ("redis", r"redis\.url, redis\.existingSecret"),
    ],
)
def test_a_store_is_named(store: str, complaint: str) -> None:
    """Without a store there is no rendering, but a sentence that says which values name one."""
    given = {k: v for k, v in values("scalable-api", "external").items() if k != store}
    with pytest.raises(helm.RenderError, match=complaint):
        helm.render("scalable-api", given)


def test_charts_and_wheel_have_one_version() -> None:
    """Wheel, images, charts: one number."""
    text = (Path(helm.ROOT) / "pyproject.toml").read_text()
    version = re.search(r'^version = "(.+)"', text, re.MULTILINE)
    assert version is not None
    for chart in DEFAULT:
        about = helm.load_values(helm.CHARTS / chart / "Chart.yaml")
        assert (about["version"], about["appVersion"]) == (version[1], version[1])
        assert about["kubeVersion"] == ">=1.30.0-0"
        assert "dependencies" not in about
