"""The control plane itself: the version that is pinned, every part at work, everything recorded, nothing left behind."""

from __future__ import annotations

import contextlib
from pathlib import Path

from tests.cluster.binaries import pinned_version
from tests.cluster.control_plane import control_plane

DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "shop"},
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "shop"}},
        "template": {
            "metadata": {"labels": {"app": "shop"}},
            "spec": {"containers": [{"name": "shop", "image": "shop:1"}]},
        },
    },
}


def test_it_is_the_version_that_is_pinned(client, minor):
    """The API server, built of the pinned modules, says their version; finished programs may be any."""
    told = client.do("GET", "/version")["gitVersion"]
    assert told == pinned_version(minor) if minor != "assets" else told.startswith("v1.")


def test_a_deployment_gets_its_pod(client, namespace):
    """The controller manager makes the pod, the scheduler looks for a node and finds none."""
    client.do("POST", f"/apis/apps/v1/namespaces/{namespace}/deployments", DEPLOYMENT)

    def unschedulable(pod):
        return any(c.get("reason") == "Unschedulable" for c in pod.get("status", {}).get("conditions", ()))

    pod = client.watch(f"/api/v1/namespaces/{namespace}/pods", unschedulable, 20)
    assert pod["metadata"]["generateName"].startswith("shop-")
    assert pod["status"]["phase"] == "Pending"


def test_every_request_is_audited(client, namespace, plane):
    """The audit log has the request that was just answered: who, verb, object, code."""
    client.do("POST", f"/api/v1/namespaces/{namespace}/configmaps", {"metadata": {"name": "seen"}})
    (event,) = [event for event in plane.audited() if event.get("objectRef", {}).get("name") == "seen"
                and event["objectRef"]["namespace"] == namespace]  # fmt: skip
    assert (event["verb"], event["objectRef"]["resource"]) == ("create", "configmaps")
    assert (event["user"]["username"], event["responseStatus"]["code"]) == ("admin", 201)


def test_nothing_is_left(binaries):
    """After its end no process of it runs and its folder is gone."""
    with control_plane(binaries) as own:
        started = processes_of(str(own.folder))
        assert len(started) == 4
    assert processes_of(str(own.folder)) == []
    assert not own.folder.exists()


def processes_of(folder: str) -> list[int]:
    """Ids of the processes whose command line names `folder`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended while we looked
            if folder in (process / "cmdline").read_text():
                found.append(int(process.name))
    return found
