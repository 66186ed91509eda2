"""A ScalableApi in a user's hands: kubectl's columns, scale, explain, and two managers of one object."""

from __future__ import annotations

import re
from dataclasses import dataclass

import httpx

from tests.cluster.client import APPLY, MERGE, Client, Object, scalable_apis
from tests.harness.crd_cases import MINIMAL
from tests.harness.wait import eventually

CONDITION = {"type": "Ready", "status": "False", "reason": "ComponentsNotReady", "message": "api: 4 of 16 are ready"}
STATUS = {
    "conditions": [{**CONDITION, "lastTransitionTime": "2026-11-24T10:00:02Z", "observedGeneration": 1}],
    "replicas": 4,
    "selector": "app.kubernetes.io/instance=shop",
    "lastScaleTime": "2020-01-01T00:00:00Z",
    "summary": {
        "gateway": "4/4",
        "balancer": "2/2",
        "api": "4/4→16",
        "worker": "1/1",
        "tiers": "r5→r6 1/6",
        "circuits": "1 open",
        "budget": "312/500",
        "paused": "up,tiers",
    },
}
WANTED = {
    "NAME": "shop",
    "READY": "False",
    "MODE": "Auto",
    "REASON": "ComponentsNotReady",
    "GATEWAY": "4/4",
    "BALANCER": "2/2",
    "API": "4/4→16",
    "TIERS": "r5→r6 1/6",
    "CIRCUITS": "1 open",
    "AGE": "",
}
WIDE = {"WORKER": "1/1", "PAUSED": "up,tiers", "LAST-SCALE": "", "BUDGET": "312/500", "MESSAGE": CONDITION["message"]}


def shop(client: Client, namespace: str, **spec) -> str:
    """A new object; its path."""
    path = scalable_apis(namespace, "shop")
    client.do("POST", scalable_apis(namespace), {**MINIMAL, "spec": {**MINIMAL["spec"], **spec}})
    client.do("PATCH", f"{path}/status", {"status": STATUS}, kind=MERGE, fieldValidation="Strict")
    return path


def cells(printed: str) -> dict[str, str]:
    """Column → cell of a table with one row; ages are left out."""
    head, row = (re.split(r"\s{2,}", line.strip()) for line in printed.splitlines())
    return {name: "" if name in ("AGE", "LAST-SCALE") else cell for name, cell in zip(head, row, strict=True)}


def test_get_prints_the_columns(client, namespace, kubectl):
    """`kubectl get sapi` prints operator.md §2's nine columns from spec and status, in their order."""
    shop(client, namespace)
    printed = cells(kubectl("get", "sapi"))
    assert list(printed.items()) == list(WANTED.items())


def test_get_wide_prints_five_more(client, namespace, kubectl):
    """`-o wide` adds worker, paused, last scale, budget and the message."""
    shop(client, namespace)
    printed = kubectl("get", "sapi", "-o", "wide")
    assert list(cells(printed).items()) == list({**WANTED, **WIDE}.items())
    assert re.search(r"up,tiers +\d+y", printed)  # lastScaleTime as an age


def test_it_is_in_its_categories(client, namespace, kubectl):
    """`kubectl get all` and `kubectl get scalable` list it."""
    shop(client, namespace)
    for category in ("all", "scalable"):
        assert "scalableapi.scalableapi.io/shop" in kubectl("get", category, "-o", "name").split()


def test_scale_writes_spec_replicas(client, namespace, kubectl):
    """`kubectl scale` sets the api's count, also where there was none; asking for the scale needs one."""
    path = shop(client, namespace)
    assert client.ask("GET", f"{path}/scale").is_error
    kubectl("scale", "sapi/shop", "--replicas=5")
    assert client.do("GET", path)["spec"]["replicas"] == 5
    kubectl("scale", "sapi/shop", "--current-replicas=5", "--replicas=7")
    scale = client.do("GET", f"{path}/scale")
    assert scale["spec"] == {"replicas": 7}
    assert scale["status"] == {"replicas": 4, "selector": STATUS["selector"]}


def test_scale_keeps_the_bounds(client, namespace):
    """What the scale subresource writes is validated as the spec is: at most 1000."""
    path = shop(client, namespace, replicas=1)
    answer = client.ask("PATCH", f"{path}/scale", {"spec": {"replicas": 1001}}, kind=MERGE)
    assert answer.is_client_error
    assert "spec.replicas" in answer.text


async def test_explain_describes_the_fields(namespace, kubectl):
    """`kubectl explain` shows each field of a metric with its description, once the API server has published the schema."""
    printed = await eventually(
        lambda: kubectl("explain", "sapi.spec.components.metrics"), 20, "the schema is published"
    )
    assert "FIELDS:" in printed
    for field in ("name", "prometheus", "target", "type"):
        assert re.search(rf"^  {field}\t<.*-required-|^  {field}\t<", printed, re.MULTILINE), printed
    assert "<no description>" not in printed
    assert "What one replica should carry" in printed, printed


def test_two_managers_share_a_list(client, namespace):
    """Lists merge by name under server-side apply: each manager keeps its own fields, a contested one is refused."""
    shared = Shared(client, scalable_apis(namespace, "shop"))
    assert shared.apply("ops", {"name": "gateway", "minReplicas": 2}).is_success
    assert shared.apply("team", {"name": "gateway", "maxReplicas": 30}, {"name": "api"}).is_success
    assert set(shared.components()) == {"gateway", "api"}
    gateway = shared.components()["gateway"]
    assert (gateway["minReplicas"], gateway["maxReplicas"]) == (2, 30)
    refused = shared.apply("team", {"name": "gateway", "minReplicas": 3})
    assert refused.status_code == 409
    assert "ops" in refused.json()["message"]
    assert shared.apply("team", {"name": "gateway", "maxReplicas": 30}).is_success
    assert set(shared.components()) == {"gateway"}


@dataclass
class Shared:
    """One object that several managers apply to."""

    client: Client
    path: str

    def apply(self, manager: str, *components: Object) -> httpx.Response:
        manifest = {**MINIMAL, "spec": {"components": list(components)}}
        return self.client.ask("PATCH", self.path, manifest, kind=APPLY, fieldManager=manager)

    def components(self) -> dict[str, Object]:
        return {entry["name"]: entry for entry in self.client.do("GET", self.path)["spec"]["components"]}
