"""The CLI with an operator and a fleet of ours (rung 2): waiting for what it changed, and looking whether all is well from a pod.

One scene for the module, in this order.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.client import scalable_apis
from tests.cluster.control_plane import ControlPlane
from tests.cluster.operator_scene import OLDEST
from tests.cluster.shop import NAME, PORTS, Object, secret
from tests.cluster.test_cli import Done, cli_of, environment_of
from tests.cluster.test_promises import PLENTY, Scene, components, scene, tiers, until

__all__ = ["scene"]  # pytest finds fixtures by name

pytestmark = [OLDEST, pytest.mark.asyncio(loop_scope="module")]
SPEC = {"components": components(30), "tiers": tiers(PLENTY)}


def manifest(name: str = NAME, **over: Any) -> str:
    body = {"apiVersion": "scalableapi.io/v1", "kind": "ScalableApi", "metadata": {"name": name}, "spec": SPEC | over}
    return yaml.safe_dump(body)


@pytest.fixture(scope="module")
def home(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return environment_of(plane, tmp_path_factory.mktemp("home"))


@pytest.fixture
def cli(plane: ControlPlane, scene: Scene, home: dict[str, str]) -> Any:
    """Runs a command in a thread: the node and its pods live on this loop."""
    run = cli_of(plane, scene.shop.namespace, home)

    async def command(*words: str, stdin: str = "") -> Done:
        return await asyncio.to_thread(run, *words, stdin=stdin)

    return command


async def test_apply_waits_until_it_is_in_force(scene, cli):
    """It says what is missing while it waits, and returns when the object is Ready and all four enforce its tiers."""
    begun = time.monotonic()
    done = await cli("apply", "-f", "-", "--wait", "--timeout", "60", stdin=manifest())
    print(f"\napply --wait: {time.monotonic() - begun:.1f} s\n{done.stderr}")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, f"scalableapi/{NAME} configured"), done.stderr
    first, *_, last = done.stderr.splitlines()
    assert first == f"waiting up to 60 s until scalableapi/{NAME} is in force"
    assert last == f"scalableapi/{NAME} is in force"
    assert scene.condition("Ready") == ("True", "AllComponentsReady")
    assert scene.status["tiers"]["pods"] == {"total": 4, "acked": 4, "stale": []}
    again = await cli("apply", "-f", "-", "--wait", stdin=manifest())
    assert (again.returncode, again.stdout) == (0, f"scalableapi/{NAME} unchanged\n"), again.stderr
    assert (await cli("status", "--wait")).returncode == 0


async def test_what_cannot_be_in_time_is_named(scene, cli):
    """Three apis where two are, within a second: 6, and the component that lacks is named; more time: 0."""
    fixed = [{"name": "api", "minReplicas": 3, "maxReplicas": 3}]
    wanted = manifest(components=[*components(30)[:2], *fixed])
    late = await cli("apply", "-f", "-", "--wait", "--timeout", "1", stdin=wanted)
    print(f"\n{late.stderr}")
    assert (late.returncode, "api has 2 ready of 3" in late.stderr.splitlines()[-2]) == (6, True), late.stderr
    assert (await cli("apply", "-f", "-", "--wait", "--timeout", "60", stdin=wanted)).returncode == 0
    assert len(scene.shop.ready("api")) == 3


async def test_what_only_a_person_can_help_is_not_waited_for(scene, cli):
    """A second object on the same Deployments: 1 at once, with the rival's name, though there were minutes left."""
    begun = time.monotonic()
    targets = [{**component, "targetRef": {"name": f"{NAME}-{component['name']}"}} for component in components(30)]
    control = {"tokenSecretRef": {"name": f"{NAME}-control"}}
    second = manifest("second", components=targets, control=control)
    done = await cli("apply", "-f", "-", "--wait", "--timeout", "80", stdin=second)
    print(f"\n{time.monotonic() - begun:.1f} s: {done.stderr}")
    assert (done.returncode, "Conflicted" in done.stderr, NAME in done.stderr) == (1, True, True)
    scene.shop.client.do("DELETE", scalable_apis(scene.shop.namespace, "second"))


async def test_a_canary_by_hand(scene, cli, tmp_path):
    """`tiers rotate --canary 50% --wait`: one gateway of two first, told while it is waited for; then all enforce it."""
    before = scene.status["tiers"]["activeRevision"]
    rotation = {"canary": {"hold": "10s", "minRequests": 0}}
    (tmp_path / "tiers.yaml").write_text(yaml.safe_dump(tiers(PLENTY - 5) | {"rotation": rotation}))
    file = str(tmp_path / "tiers.yaml")
    done = await cli("tiers", "rotate", "-f", file, "--canary", "50%", "--wait", "--timeout", "80")
    print(f"\n{done.stderr}")
    assert (done.returncode, "Canary" in done.stderr) == (0, True), done.stderr
    after = scene.status["tiers"]
    assert (after["phase"], after["activeRevision"] > before, after["pods"]["acked"]) == ("Active", True, 4)


def pod(name: str, namespace: str, token: Object) -> Object:
    """As the chart's test makes it; `k8s:` instead of `dns:`, for this node has no resolver."""
    fleet = ",".join(f"k8s:{namespace}/{NAME}-{component}-control:control" for component in PORTS)
    env = [
        {"name": "CONTROL_TOKEN", **token},
        {"name": "FLEET", "value": fleet},
        {"name": "GATEWAY_URL", "value": "$(URL)"},
    ]
    command = ["scalable-api", "check", "--in-cluster"]
    container = {
        "name": "smoke",
        "image": "ghcr.io/scalable-api/scalable-api-api:1.0.0",
        "command": command,
        "env": env,
    }
    return {"metadata": {"name": name}, "spec": {"restartPolicy": "Never", "containers": [container]}}


@pytest.mark.parametrize(
    ("token", "phase", "said"),
    [
        ({"valueFrom": secret("control", "token")}, "Succeeded", "all is well"),
        ({"value": "another-token-of-some-length"}, "Failed", "CONTROL_TOKEN must be"),
    ],
    ids=["well", "wrong-token"],
)
async def test_a_pod_looks_whether_all_is_well(scene, token, phase, said):
    """`check --in-cluster` without any right: every component, the tiers, a request through the chain, the limiter; a wrong
    token is told as one."""
    namespace = scene.shop.namespace
    name = f"smoke-{phase.lower()}"
    body = pod(name, namespace, token)
    body["spec"]["containers"][0]["env"].insert(0, {"name": "URL", "value": scene.urls()[0]})
    path = f"/api/v1/namespaces/{namespace}/pods"
    scene.shop.client.do("POST", path, body)

    def ended() -> bool:
        return scene.shop.client.do("GET", f"{path}/{name}")["status"].get("phase") in ("Succeeded", "Failed")

    logs: list[Path] = []

    def seen() -> bool:
        logs[:] = [p.containers[0].log for p in scene.node.pods.values() if p.name == name and p.containers] or logs
        return ended()

    await until(seen, 30, "the check has ended")
    text = logs[0].read_text()
    print(f"\n{text}")
    assert scene.shop.client.do("GET", f"{path}/{name}")["status"]["phase"] == phase
    assert said in text
