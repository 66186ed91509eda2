"""The operator's chart by Helm 4 on an API server of its own: install, upgrade, rollback, uninstall, and what stays."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import helm_python
import pytest

from scalable_operator.lease import NAME
from tests.cluster.client import MERGE, Client
from tests.cluster.control_plane import ControlPlane, control_plane
from tests.cluster.operator_scene import OLDEST
from tests.harness import helm

CHART: Final = "scalable-api-operator"
HOME: Final = helm.HOMES[CHART]
LEASE: Final = f"/apis/coordination.k8s.io/v1/namespaces/{HOME}/leases/{NAME}"
CRD: Final = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/scalableapis.scalableapi.io"
DEPLOYMENT: Final = f"/apis/apps/v1/namespaces/{HOME}/deployments/{CHART}"
LISTS: Final = (
    *(f"/api/v1/namespaces/{HOME}/{kind}" for kind in ("services", "configmaps", "secrets")),
    *(f"/apis/apps/v1/namespaces/{HOME}/{kind}" for kind in ("deployments", "statefulsets")),
    *(
        f"/apis/{group}/namespaces/{HOME}/{kind}"
        for group, kind in (
            ("policy/v1", "poddisruptionbudgets"),
            ("networking.k8s.io/v1", "networkpolicies"),
            ("coordination.k8s.io/v1", "leases"),
        )
    ),
    *(f"/apis/rbac.authorization.k8s.io/v1/namespaces/{HOME}/{kind}" for kind in ("roles", "rolebindings")),
    *(f"/apis/rbac.authorization.k8s.io/v1/{kind}" for kind in ("clusterroles", "clusterrolebindings")),
    *(
        f"/apis/admissionregistration.k8s.io/v1/{kind}"
        for kind in ("validatingadmissionpolicies", "validatingadmissionpolicybindings")
    ),
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
)
"""Where something of the chart may be left: all that it makes, and what nothing should."""


@pytest.fixture
def own(binaries: Mapping[str, Path]) -> Iterator[ControlPlane]:
    """A control plane of the test's own, since the CRD is the chart's here."""
    with control_plane(binaries) as running:
        yield running


@contextlib.contextmanager
def release(plane: ControlPlane) -> Iterator[helm_python.Config]:
    with helm_python.Config(kubeconfig_path=plane.kubeconfig, namespace=HOME) as config:
        yield config


def labelled(client: Client) -> list[str]:
    """Every object that the release made and that is still there."""
    wanted = f"app.kubernetes.io/instance={CHART}"
    found = [item for path in LISTS for item in client.do("GET", path, labelSelector=wanted)["items"]]
    return [item["metadata"]["name"] for item in found]


@OLDEST
def test_install_upgrade_rollback_uninstall(own: ControlPlane) -> None:
    """Each step is taken whole; a leader's Lease outlives upgrades; of an uninstalled release the CRD alone stays, with its objects."""
    with own.client() as client, release(own) as config:
        installed = config.install(helm.CHARTS / CHART, CHART, create_namespace=True)
        assert (installed["revision"], installed["status"]) == (1, "deployed")
        assert client.do("GET", DEPLOYMENT)["spec"]["replicas"] == 2
        client.do("PATCH", LEASE, {"spec": {"holderIdentity": "leader", "leaseTransitions": 7}}, kind=MERGE)

        config.upgrade(
            helm.CHARTS / CHART, CHART, {"replicas": 3, "extraEnv": [{"name": "LOG_LEVEL", "value": "debug"}]}
        )
        upgraded = client.do("GET", DEPLOYMENT)["spec"]
        assert upgraded["replicas"] == 3
        assert {"name": "LOG_LEVEL", "value": "debug"} in upgraded["template"]["spec"]["containers"][0]["env"]
        assert client.do("GET", LEASE)["spec"] == {"holderIdentity": "leader", "leaseTransitions": 7}

        config.rollback(CHART, version=1)
        assert client.do("GET", DEPLOYMENT)["spec"]["replicas"] == 2
        assert client.do("GET", LEASE)["spec"]["holderIdentity"] == "leader"

        config.uninstall(CHART)
        assert labelled(client) == ["scalableapis.scalableapi.io"]
        assert "deletionTimestamp" not in client.do("GET", CRD)["metadata"]

        again = config.install(helm.CHARTS / CHART, CHART)
        assert again["status"] == "deployed", "a CRD that was kept is taken over"


@OLDEST
def test_an_upgrade_that_changes_nothing_restarts_nothing(own: ControlPlane) -> None:
    """The same values again leave the Deployment's generation as it was: no pod is replaced for a chart's sake."""
    with own.client() as client, release(own) as config:
        config.install(helm.CHARTS / CHART, CHART, create_namespace=True)
        before = client.do("GET", DEPLOYMENT)["metadata"]["generation"]
        config.upgrade(helm.CHARTS / CHART, CHART)
        assert client.do("GET", DEPLOYMENT)["metadata"]["generation"] == before
