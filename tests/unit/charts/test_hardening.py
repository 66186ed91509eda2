"""Rights, secrets, networks and environment of every rendering: who may do what, and who is told what."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from services.runtime.settings import KNOWN
from tests.harness import helm
from tests.unit.charts.scenes import each, scene, values
from tests.unit.charts.test_objects import fits


@each
def test_network_policies(chart: str, name: str) -> None:
    """Each of our pods and stores takes connections from its callers alone; what goes out is not fenced in."""
    rendered = scene(chart, name)
    policies = rendered.kind("NetworkPolicy")
    if values(chart, name).get("networkPolicy", {}).get("enabled") is False:
        assert policies == ()
        return
    for thing in rendered.kind("Deployment", "StatefulSet"):
        labels = thing["spec"]["template"]["metadata"]["labels"]
        (policy,) = [p for p in policies if fits(p["spec"]["podSelector"], labels)]
        assert policy["spec"]["policyTypes"] == ["Ingress"]
        open_ports = {p["port"] for row in policy["spec"]["ingress"] for p in row["ports"] if not row.get("from")}
        gateway = labels["app.kubernetes.io/component"] == "gateway"
        assert open_ports == ({"http"} if gateway else set())


@each
def test_rights(chart: str, name: str) -> None:
    """What an account of ours is granted names its resources and verbs: no wildcard, no delete, no Secret but by name."""
    rendered = scene(chart, name)
    bound = {(b["roleRef"]["kind"], b["roleRef"]["name"]) for b in rendered.kind("RoleBinding", "ClusterRoleBinding")}
    assert bound
    for role in rendered.kind("Role", "ClusterRole"):
        if (role["kind"], role["metadata"]["name"]) not in bound:
            assert any("rbac.authorization.k8s.io/aggregate-to-" in label for label in role["metadata"]["labels"])
            continue
        for rule in role["rules"]:
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            assert not {"delete", "deletecollection", "escalate", "bind", "impersonate"} & set(rule["verbs"])
            assert not {"namespaces", "nodes", "pods/exec"} & set(rule["resources"])
            if "secrets" in rule["resources"]:
                assert rule["verbs"] == ["create"] or (rule["verbs"] == ["get"] and rule["resourceNames"])


@each
def test_environment_once(chart: str, name: str) -> None:
    """A container's environment has each name once: server-side apply refuses a list with two keys alike."""
    for _, pod in helm.pods(scene(chart, name)):
        for container in helm.containers(pod):
            names = [e["name"] for e in container.get("env") or ()]
            assert len(names) == len(set(names))


@each
def test_environment_is_known(chart: str, name: str) -> None:
    """What a chart tells a process is a setting of it, or the file of one: a typing error would be silently unread."""
    given = {e["name"] for tree in _mappings(values(chart, name)) for e in tree.get("extraEnv") or ()}
    rendered = scene(chart, name)
    found = {e["name"] for d in rendered.kind("Deployment") for e in _environment(d)} - given
    for config in rendered.kind("ConfigMap"):
        if config["metadata"]["name"].endswith("-config"):
            found |= config["data"].keys()
    assert found
    assert {n for n in found if not {n, n.removesuffix("_FILE")} & KNOWN} == set()


def _environment(deployment: helm.Object) -> Iterator[helm.Object]:
    for container in helm.containers(deployment["spec"]["template"]):
        yield from container.get("env") or ()


def _mappings(node: Any) -> Iterator[helm.Object]:
    if isinstance(node, dict):
        yield node
        for child in node.values():
            yield from _mappings(child)


@each
def test_secrets_are_files(chart: str, name: str) -> None:
    """No secret stands in an environment, an argument, a ConfigMap or a ScalableApi: processes read them from mounted files."""
    rendered = scene(chart, name)
    given = {e["name"] for tree in _mappings(values(chart, name)) for e in tree.get("extraEnv") or ()}
    for _, pod in helm.pods(rendered):
        for container in helm.containers(pod):
            for entry in container.get("env") or ():
                if entry["name"] not in given:
                    assert "secretKeyRef" not in str(entry)
                    assert not _secret(entry["name"]) or entry["name"].endswith("_FILE")
            assert not re.search(r"://[^/ ]*:[^/ ]*@", str([container.get("command"), container.get("args")]))
    for thing in rendered.kind("ConfigMap", "ScalableApi"):
        said = {k: v for k, v in (thing.get("data") or thing.get("spec") or {}).items() if not k.endswith(".sh")}
        assert not re.search(r"://[^/\s]*:[^/\s@]*@", str(said))
        assert not [k for k in said if _secret(k)]


def _secret(name: str) -> bool:
    return re.search(r"TOKEN|SECRET|PEPPER|PASSWORD|DATABASE_URL|REDIS_URL", name) is not None


@each
def test_secrets_are_made_by_nobody(chart: str, name: str) -> None:
    """A chart renders no Secret but that of URLs which stand in its values: keys are made once, by the hook, and outlive releases."""
    for secret in scene(chart, name).kind("Secret"):
        assert secret["metadata"]["name"].endswith("-stores")
        assert set(secret["stringData"].values()) <= {
            values(chart, name)[store]["url"] for store in ("postgres", "redis")
        }


@each
def test_hooks_use_our_images(chart: str, name: str) -> None:
    """Hooks and helm tests run this project's images, not a kubectl that ages, and tidy up after themselves."""
    rendered = scene(chart, name)
    hooks = [(o, p) for o, p in helm.pods(rendered) if "helm.sh/hook" in helm.annotated(o)]
    images = {c["image"] for d in rendered.kind("Deployment") for c in helm.containers(d["spec"]["template"])}
    for owner, pod in hooks:
        assert {c["image"] for c in helm.containers(pod)} <= images
        assert helm.annotated(owner)["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"
    assert any(helm.annotated(o)["helm.sh/hook"] == "test" for o, _ in hooks)
