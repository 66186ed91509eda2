"""helm upgrade, rollback and uninstall, with both of Helm's majors."""

from __future__ import annotations

import asyncio

from tests.node.story.cluster import NAME, NAMESPACE, PLATFORM, SYSTEM, Cluster
from tests.node.story.conftest import Platform, shown
from tests.node.story.load import during, load, told, until

UPGRADE = PLATFORM.replace("helm install", "helm upgrade").replace(" --create-namespace", "")
KEPT = {
    "PersistentVolumeClaim/data-scalable-api-postgres-0",
    "PersistentVolumeClaim/data-scalable-api-valkey-0",
    "Secret/scalable-api-control",
    "Secret/scalable-api-keys",
}
# Kubernetes' own, in every namespace.
BORN = {"ConfigMap/kube-root-ca.crt", "ServiceAccount/default"}


async def test_upgrade_and_rollback_lose_no_request(platform: Platform, key: dict[str, str]) -> None:
    """`helm upgrade` with another setting rolls every component, `helm rollback` rolls them back: 0 failed under load."""
    cluster = platform.cluster
    changed = [*cluster.given("platform"), "--set=config.LOG_LEVEL=debug", "--wait", "--timeout=180s"]
    async with load(platform, key, 50, 400) as running:
        up = await during(cluster.helm, UPGRADE, *changed)
        level = cluster.get("configmap", f"{NAME}-config")["data"]["LOG_LEVEL"]
        back = await during(cluster.helm, f"helm rollback {NAME} 1 -n {NAMESPACE} --wait --timeout 180s")
    shown(f"helm upgrade {up:.0f} s, helm rollback {back:.0f} s;", told(running.report))
    assert level == "debug"
    assert "LOG_LEVEL" not in cluster.get("configmap", f"{NAME}-config")["data"]
    assert running.report.failed == [], str(running.report)


async def test_uninstall_keeps_three_kinds_in_any_order(platform: Platform) -> None:
    """What remains is exactly the CRD, the two Secrets and the claims, whichever chart goes first; Helm 3 installs upon them too."""
    cluster = platform.cluster
    for major, order in (("4", ("platform", "operator")), ("3", ("operator", "platform"))):
        if major == "3":
            took = await during(both, cluster, major)
            shown(f"both charts again, by Helm 3: {took:.0f} s")
        for chart in order:
            release, namespace = {"operator": ("scalable-api-operator", SYSTEM), "platform": (NAME, NAMESPACE)}[chart]
            await asyncio.to_thread(cluster.helm, f"helm uninstall {release} -n {namespace} --wait", major=major)
        await until(lambda: remains(cluster) == KEPT, 90, "the pods have ended")
        crds = [c for c in cluster.kubectl("get", "crd", "-o", "name").split() if "scalableapi.io" in c]
        assert crds == ["customresourcedefinition.apiextensions.k8s.io/scalableapis.scalableapi.io"]
        wide = "clusterrole,clusterrolebinding,validatingadmissionpolicy,validatingadmissionpolicybinding"
        left = [w for w in cluster.kubectl("get", wide, "-o", "name").split() if "scalable" in w]
        assert left == []
    shown("what remains:", sorted(KEPT), crds)


def both(cluster: Cluster, major: str) -> None:
    for chart in ("operator", "platform"):
        cluster.install(chart, major=major)


def remains(cluster: Cluster) -> set[str]:
    """`Kind/name` of all that is in the two namespaces, of every kind that can be listed, but what each namespace is born with."""
    kinds = cluster.kubectl("api-resources", "--namespaced", "--verbs=list", "-o", "name").split()
    asked = ",".join(kind for kind in kinds if not kind.startswith("events"))
    found = [item for namespace in (SYSTEM, NAMESPACE) for item in cluster.items(asked, namespace=namespace)]
    return {f"{item['kind']}/{item['metadata']['name']}" for item in found} - BORN
