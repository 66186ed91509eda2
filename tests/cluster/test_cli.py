"""`scalable-api` on a cluster: the commands through a real kubectl and a real API server, without an operator.

Status is put there as the operator would, from the pydantic model.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from scalable_operator.records import ApiRecord
from scalable_operator.resources.objects import config_map
from services.cli.targets.kubectl import fault
from services.controller.backend import Record
from services.schema.scalable_api import ScalableApi, ScalableApiSpec, tiers_spec
from services.schema.status import StoredObject, TierHistory
from services.schema.tiers import document
from tests.cluster.client import MERGE, Client, scalable_apis
from tests.cluster.control_plane import ControlPlane
from tests.harness.crd_cases import MINIMAL
from tests.unit.cli.commands.test_status import stored

Done = subprocess.CompletedProcess[str]
Cli = Callable[..., Done]
SHOP = {**MINIMAL, "metadata": {"name": "shop"}}


@pytest.fixture
def environment(plane: ControlPlane, tmp_path: Path) -> dict[str, str]:
    return environment_of(plane, tmp_path)


def environment_of(plane: ControlPlane, home: Path) -> dict[str, str]:
    """A home of its own and the minor's kubectl first in PATH."""
    (home / "bin").mkdir()
    (home / "bin" / "kubectl").symlink_to(plane.programs["kubectl"])
    scripts = Path(sys.executable).parent
    path = f"{home / 'bin'}:{scripts}:{os.environ['PATH']}"
    return {"HOME": str(home), "XDG_STATE_HOME": str(home), "PATH": path}


@pytest.fixture
def cli(plane: ControlPlane, namespace: str, environment: dict[str, str]) -> Cli:
    return cli_of(plane, namespace, environment)


def cli_of(plane: ControlPlane, namespace: str, environment: dict[str, str]) -> Cli:
    """Runs `scalable-api WORDS` against the namespace."""

    def run(*words: str, stdin: str = "", **over: str) -> Done:
        argv = [sys.executable, "-m", "services.cli", *words, f"--kubeconfig={plane.kubeconfig}", "-n", namespace]
        return ran(argv, environment | over, stdin)

    return run


def ran(argv: list[str], environment: dict[str, str], stdin: str = "") -> Done:
    return subprocess.run(argv, input=stdin, capture_output=True, text=True, env=environment, timeout=90, check=False)


def with_status(client: Client, namespace: str, name: str = "shop", **over: Any) -> None:
    """An object with the status that the operator would write."""
    body = {**SHOP, "metadata": {"name": name}}
    client.do("POST", scalable_apis(namespace), body)
    found = StoredObject.model_validate(stored(**over)).status
    status = found.model_dump(mode="json", by_alias=True, exclude_none=True)
    path = scalable_apis(namespace, name, "status")
    client.do("PATCH", path, {"status": dated(status)}, kind=MERGE, fieldValidation="Strict")


def dated(status: Any) -> Any:
    """The API server takes no empty date."""
    if isinstance(status, dict):
        return {
            k: "2026-11-24T10:00:00Z" if k in ("lastTransitionTime", "since") and not v else dated(v)
            for k, v in status.items()
        }
    return [dated(v) for v in status] if isinstance(status, list) else status


def words(done: Done) -> list[str]:
    """The first words of the error's lines."""
    return [line.split()[0] for line in done.stderr.splitlines()]


def test_kubectl_scalableapi_status_is_a_plugin(client, namespace, plane, environment):
    """`kubectl scalableapi status` finds the program in PATH and shows the cluster's object on one screen."""
    with_status(client, namespace)
    argv = ["kubectl", "scalableapi", "status", f"--kubeconfig={plane.kubeconfig}", "-n", namespace]
    done = ran(argv, environment)
    assert (done.returncode, done.stderr) == (0, "")
    for part in ("shop", "Ready", f"namespace {namespace}", "2 → 4 Panic", "2/3 processes", "Open api-1"):
        assert part in done.stdout
    refused = ran(["kubectl", "scalableapi", "top"], environment)
    assert (refused.returncode, words(refused)) == (4, ["error", "why", "next"])


def test_kubectl_completes_it(client, namespace, plane, environment):
    """A Tab in a shell with kubectl's completion: its own program finds ours and passes on commands, flags and the names
    that the cluster has."""
    with_status(client, namespace)
    with_status(client, namespace, "store")
    where = [f"--kubeconfig={plane.kubeconfig}", "-n", namespace]

    def offered(*words: str) -> list[str]:
        done = ran(["kubectl", "__complete", "scalableapi", *words], environment)
        assert done.returncode == 0, done.stderr
        *lines, directive = done.stdout.splitlines()
        assert directive == ":4"
        return [line.split("\t")[0] for line in lines]

    def patiently(*words: str) -> list[str]:
        """Who does not answer a Tab in two seconds, as a busy server, offers nothing: asked a few times."""
        return next(filter(None, (offered(*words) for _ in range(8))), [])

    assert offered("st") == ["status"]
    assert offered("status", "--conte") == ["--context"]
    assert patiently("status", *where, "") == ["shop", "store"]
    assert patiently("pause", *where, "st") == ["store"]
    assert offered("status", where[0], "--context", "t") == ["test"]
    found = patiently("get", where[0], "-n", namespace)
    assert namespace in found
    assert found == [n for n in patiently("get", where[0], "-n", "") if n.startswith(namespace)]


def test_get_prints_the_columns_of_kubectl(client, namespace, cli, kubectl):
    """`get -o wide` has kubectl's columns and cells, ages aside; `-o name` its names."""
    with_status(client, namespace)
    with_status(client, namespace, "store")
    ours, theirs = cli("get", "-o", "wide").stdout.splitlines(), kubectl("get", "sapi", "-o", "wide").splitlines()
    assert sorted(ours[0].split()) == sorted(theirs[0].split())
    assert [line.split()[:9] for line in ours[1:]] == [line.split()[:9] for line in theirs[1:]]
    assert cli("get", "-o", "name").stdout == kubectl("get", "sapi", "-o", "name")
    report = json.loads(cli("get", "store", "-o", "json").stdout)
    assert (report["kind"], report["data"]["metadata"]["name"]) == ("ScalableApi", "store")


def test_several_need_a_name(client, namespace, cli):
    """With two objects `status` asks which (2, with the names); a name that is not there is 3; none at all too."""
    assert cli("status").returncode == 3
    with_status(client, namespace)
    with_status(client, namespace, "store", conditions=[])
    asked = cli("status")
    assert (asked.returncode, "shop, store" in asked.stderr) == (2, True)
    assert (cli("status", "shop").returncode, cli("status", "store").returncode) == (0, 1)
    missing = cli("status", "nobody")
    assert (missing.returncode, words(missing)) == (3, ["error", "why", "next"])


def test_explain_scaling_recomputes(client, namespace, cli):
    """The last decision in status is computed again; --live says that it is not there."""
    with_status(client, namespace)
    done = cli("explain", "scaling", "api", "-o", "json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["data"]["components"][0]
    assert cli("explain", "scaling", "--live").returncode == 4


def test_apply_shows_the_difference_and_writes(client, namespace, cli, tmp_path):
    """A new object is created by server-side apply, again it is unchanged; --dry-run writes nothing."""
    file = tmp_path / "shop.yaml"
    file.write_text(yaml.safe_dump(SHOP))
    assert "would change" in cli("apply", "-f", str(file), "--dry-run").stdout
    assert client.ask("GET", scalable_apis(namespace, "shop")).status_code == httpx.codes.NOT_FOUND
    assert cli("apply", "-f", str(file)).stdout.endswith("scalableapi/shop configured\n")
    assert cli("apply", "-f", str(file)).stdout == "scalableapi/shop unchanged\n"
    changed = yaml.safe_dump({**SHOP, "spec": {**SHOP["spec"], "mode": "Recommend"}})
    done = cli("apply", "-f", "-", stdin=changed)
    assert (done.returncode, "+mode: Recommend" in done.stdout) == (0, True)
    assert client.do("GET", scalable_apis(namespace, "shop"))["spec"]["mode"] == "Recommend"


def test_apply_leaves_to_others_what_is_theirs(client, namespace, cli, kubectl):
    """A field that another manager set differently is a conflict: 4 with its name, and nothing is written."""
    kubectl(
        "apply", "--server-side", "-f", "-", stdin=yaml.safe_dump({**SHOP, "spec": {**SHOP["spec"], "mode": "Auto"}})
    )
    done = cli("apply", "-f", "-", stdin=yaml.safe_dump({**SHOP, "spec": {**SHOP["spec"], "mode": "Manual"}}))
    assert (done.returncode, ".spec.mode" in done.stderr) == (4, True)
    assert client.do("GET", scalable_apis(namespace, "shop"))["spec"]["mode"] == "Auto"


def test_apply_follows_scale_and_scale_apply(client, namespace, cli):
    """One person's edits and manifest are one manager: neither meets the other in a conflict; a manifest without the
    edit ends it, one with it keeps it."""
    path, manifest = scalable_apis(namespace, "shop"), yaml.safe_dump(SHOP)

    def spec() -> Any:
        return client.do("GET", path)["spec"]

    assert cli("apply", "-f", "-", stdin=manifest).returncode == 0
    for count in ("7", "8"):
        assert cli("scale", "api", count).returncode == 0
        assert cli("pause", "--reason", "sale").returncode == 0
        assert (spec()["replicas"], spec()["paused"]["tiers"]) == (int(count), True)
        dry = cli("apply", "-f", "-", "--dry-run", stdin=manifest)
        assert (dry.returncode, f"-replicas: {count}" in dry.stdout) == (0, True), dry.stderr
        assert spec()["replicas"] == int(count)
        done = cli("apply", "-f", "-", stdin=manifest)
        assert (done.returncode, f"-replicas: {count}" in done.stdout) == (0, True), done.stderr
        assert ("replicas" in spec(), spec()["paused"]["tiers"]) == (False, False)
        assert cli("apply", "-f", "-", stdin=manifest).stdout == "scalableapi/shop unchanged\n"
    owners = client.do("GET", path)["metadata"]["managedFields"]
    assert [(o["manager"], o["operation"]) for o in owners] == [("scalable-api", "Apply")]


def test_what_another_set_stays_another_s(client, namespace, cli, kubectl):
    """After `scale` of an object that kubectl made, only what changed is ours: kubectl's own next apply goes through, and
    the difference that `apply` shows is what the API server will do."""
    kubectl(
        "apply", "--server-side", "-f", "-", stdin=yaml.safe_dump({**SHOP, "spec": {**SHOP["spec"], "mode": "Auto"}})
    )
    assert cli("scale", "api", "7").returncode == 0
    kubectl(
        "apply",
        "--server-side",
        "-f",
        "-",
        stdin=yaml.safe_dump({**SHOP, "spec": {**SHOP["spec"], "mode": "Recommend"}}),
    )
    found = client.do("GET", scalable_apis(namespace, "shop"))
    assert (found["spec"]["mode"], found["spec"]["replicas"]) == ("Recommend", 7)
    owners = {o["manager"]: json.dumps(o["fieldsV1"]) for o in found["metadata"]["managedFields"]}
    assert ("f:replicas" in owners["scalable-api"], "f:paused" in owners["scalable-api"]) == (True, False)
    done = cli("apply", "-f", "-", "--dry-run", stdin=yaml.safe_dump(SHOP))
    assert (done.returncode, "mode: Auto" in done.stdout) == (0, False), done.stderr  # it is kubectl's, and stays


def test_wait_runs_out_without_an_operator(client, namespace, cli):
    """`apply --wait` and `status --wait` end with 6 when the time is up."""
    assert cli("apply", "-f", "-", "--wait", "--timeout", "1", stdin=yaml.safe_dump(SHOP)).returncode == 6
    assert cli("status", "--wait", "--timeout", "1").returncode == 6


@contextlib.contextmanager
def ending(process: subprocess.Popen[str]) -> Iterator[None]:
    """It does not outlive a test that fails."""
    try:
        yield
    finally:
        process.kill()


def test_wait_sees_the_change(client, namespace, cli, plane, environment):
    """`status --wait` ends with 0 when the object becomes Ready under its watch; `get -w` prints the change."""
    with_status(client, namespace, conditions=[])
    own = ["env", "--default-signal=INT", sys.executable]  # a shell's background job has it ignored, and hands that on
    argv = [*own, "-m", "services.cli", "get", "-w", f"--kubeconfig={plane.kubeconfig}", "-n", namespace]
    with subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True) as process, ending(process):
        assert process.stdout is not None
        assert process.stdout.readline().startswith("NAME")
        assert process.stdout.readline().split()[:2] == ["shop", "Unknown"]
        path = scalable_apis(namespace, "shop", "status")
        status = StoredObject.model_validate(stored()).status.model_dump(mode="json", by_alias=True, exclude_none=True)
        client.do(
            "PATCH", path, {"status": {"observedGeneration": 1, "conditions": dated(status["conditions"])}}, kind=MERGE
        )
        assert process.stdout.readline().split()[:2] == ["shop", "True"]
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
    assert cli("status", "--wait", "--timeout", "20").returncode == 0


def test_e112_without_kubectl(cli, tmp_path):
    """E112, exit 5: kubectl is not in PATH."""
    done = cli("get", PATH=str(tmp_path))
    assert (done.returncode, "E112" in done.stderr, words(done)) == (5, True, ["error", "why", "next"])


def test_e113_without_an_api_server(environment, tmp_path):
    """E113, exit 5: nobody listens there, or the context does not exist."""
    nobody = {"name": "x", "cluster": {"server": "https://127.0.0.1:1"}}
    config = {"apiVersion": "v1", "kind": "Config", "clusters": [nobody], "current-context": "x"}
    config["contexts"] = [{"name": "x", "context": {"cluster": "x", "user": "x"}}]
    (tmp_path / "config").write_text(yaml.safe_dump(config))
    for more in ([], ["--context=nope"]):
        argv = [sys.executable, "-m", "services.cli", "get", f"--kubeconfig={tmp_path / 'config'}", *more]
        done = ran(argv, environment)
        assert (done.returncode, "E113" in done.stderr) == (5, True), done.stderr


def test_e115_when_forbidden(client, namespace, cli):
    """E115, exit 4: a user without rights, by --as; its name is in the reason."""
    done = cli("get", "--as=nobody")
    assert (done.returncode, "E115" in done.stderr, "nobody" in done.stderr) == (4, True, True)


def test_e114_without_the_crd(plane, environment):
    """E114, exit 3: what kubectl says of a kind that the API server does not know."""
    done = ran(["kubectl", "get", "shops.example.org", f"--kubeconfig={plane.kubeconfig}"], environment)
    error = fault(done.stderr)
    assert (error.code, error.exit_code) == ("E114", 3)


def test_scale_pause_and_resume_edit_the_spec(client, namespace, cli):
    """Each changes its member alone; a component that is not there is 3, a wrong word 2."""
    with_status(client, namespace)
    path = scalable_apis(namespace, "shop")
    before = client.do("GET", path)["spec"]
    assert cli("scale", "api", "7").returncode == 0
    spec = client.do("GET", path)["spec"]
    (api,) = (c for c in spec["components"] if c["name"] == "api")
    assert (spec["replicas"], api["mode"]) == (7, "Manual")
    assert cli("pause", "--what", "up,tiers").returncode == 0
    assert client.do("GET", path)["spec"]["paused"] == {"scaleUp": True, "scaleDown": False, "tiers": True}
    assert cli("resume").returncode == 0
    after = client.do("GET", path)["spec"]
    assert after["paused"] == {"scaleUp": False, "scaleDown": False, "tiers": False}
    assert after["tiers"] == before["tiers"]
    assert cli("scale", "nothing", "7").returncode == 3
    assert cli("pause", "--what", "left").returncode == 2
    assert cli("scale", "api", "100000000").returncode == 4  # the API server's bound


def test_tiers_roll_back_to_the_history(client, namespace, cli):
    """`tiers rollback` puts the newest document of ConfigMap shop-tiers into spec.tiers; without one it is 3."""
    with_status(client, namespace)
    assert cli("tiers").returncode == 1  # 2 of 3 enforce it
    assert cli("tiers", "rollback").returncode == 3
    path = scalable_apis(namespace, "shop")
    spec = ScalableApi.model_validate({**SHOP, "spec": client.do("GET", path)["spec"]}).spec
    old = config_map_of(spec)
    client.do("POST", f"/api/v1/namespaces/{namespace}/configmaps", old)
    new = {
        "definitions": [
            {"name": n, "criticality": "sheddable", "policies": [{"name": n, "quota": 500, "window": 60}]}
            for n in ("anonymous", "free")
        ]
    }
    assert cli("tiers", "rotate", "-f", "-", stdin=yaml.safe_dump(new)).returncode == 0
    assert [d["name"] for d in client.do("GET", path)["spec"]["tiers"]["definitions"]] == ["anonymous", "free"]
    done = cli("tiers", "rollback")
    assert (done.returncode, "back to revision 1" in done.stdout) == (0, True), done.stderr
    again = ScalableApi.model_validate({**SHOP, "spec": client.do("GET", path)["spec"]}).spec
    assert tiers_spec(again) == tiers_spec(spec)


def config_map_of(spec: ScalableApiSpec) -> dict[str, Any]:
    """The operator's ConfigMap after one rotation away from `spec`'s tiers."""
    past = document(1, tiers_spec(spec))
    entry = TierHistory(revision=1, hash=past.hash, at="2026-11-24T10:00:00Z", outcome="Superseded")
    api = ApiRecord("u", "", "shop", 1, "", deleting=False, annotations=(), spec=spec, errors=(), status="", version="")
    record = Record(active=document(2, tiers_spec(spec)), history=((entry, past),))
    made = config_map(api, record, "")
    del made["metadata"]["namespace"], made["metadata"]["ownerReferences"]  # the uid is made up
    return made


def test_breakers_and_events_are_listed(client, namespace, cli):
    """Open breakers by name with exit 1; forcing one is refused here; Events come oldest first."""
    with_status(client, namespace)
    shown = cli("breakers")
    assert (shown.returncode, "api-1" in shown.stdout, "1 open" in shown.stdout) == (1, True, True)
    forced = cli("breakers", "open", "api-1", "--reason", "x")  # through an api, and none runs here
    assert (forced.returncode, words(forced)) == (3, ["error", "why", "next"])
    kind = {"kind": "ScalableApi", "name": "shop", "namespace": namespace, "apiVersion": "scalableapi.io/v1"}
    for second, reason in ((2, "Later"), (1, "Sooner")):
        event = {"metadata": {"name": reason.lower()}, "involvedObject": kind, "reason": reason, "type": "Normal"}
        at = f"2026-11-24T10:00:0{second}Z"
        client.do("POST", f"/api/v1/namespaces/{namespace}/events", {**event, "message": "m", "lastTimestamp": at})
    rows = cli("events").stdout.splitlines()
    assert [row.split()[2] for row in rows] == ["REASON", "Sooner", "Later"]


def test_check_before_the_installation(cli, client, namespace):
    """--pre on a real API server: what is there, what an administrator may and what somebody else may not."""
    done = cli("check", "--pre")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    for part in (
        "✓ version",
        "✓ CRD         there, schema version",
        "! storage     no default StorageClass",
        "✓ install",
    ):
        assert part in done.stdout, done.stdout
    other = cli("check", "--pre", "--as=somebody")
    assert (other.returncode, "you may not create deployments.apps" in other.stdout) == (1, True), other.stderr
    assert "! CRD         you may not see it" in other.stdout


def test_check_after_the_installation(cli, client, namespace):
    """The operator's Lease and what the object's conditions say: one breaker is open."""
    done = cli("check")
    assert (done.returncode, "there is none in this namespace" in done.stdout) == (1, True), done.stderr
    with_status(client, namespace, observedGeneration=1)
    report = json.loads(cli("check", "-o", "json").stdout)["data"]
    found = {one["subject"]: (one["mark"], one["text"]) for one in report["findings"]}
    assert found["shop"] == ("look", "CircuitsClosed is False, CircuitOpen")
    assert found["CRD"][0] == "good"
    assert "leader" in found  # another test's operator may lead in its own namespace
