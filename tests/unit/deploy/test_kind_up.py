"""deploy/kind-up.sh over stand-ins of docker, kind and kubectl, which keep a cluster and a registry as files: no container engine runs here."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.harness.helm import ROOT
from tests.unit.deploy.conftest import stand_in
from tests.unit.deploy.tilt import CONTEXT

SCRIPT = ROOT / "deploy" / "kind-up.sh"
TOOLS = ("sh", "cat", "dirname", "grep", "mkdir", "rm", "sed")
NODES = ["scalable-api-control-plane", "scalable-api-worker", "scalable-api-worker2"]
REGISTRY = "scalable-api-registry"

# An engine with containers and networks as files of $STATE; `exec` runs with the node's folder for a root.
DOCKER = """
case $1 in
info) [ ! -e "$STATE/stopped" ] ;;
inspect) case $3 in *Running*) cat "$STATE/$4" 2>/dev/null ;; *) cat "$STATE/networks" ;; esac ;;
run) echo true > "$STATE/scalable-api-registry"; echo bridge > "$STATE/networks" ;;
start) echo true > "$STATE/$2" ;;
network) echo "$3" >> "$STATE/networks" ;;
exec) sh -c "$(printf '%s' "$6" | sed "s|/etc/|$STATE/$3/etc/|g")" ;;
rm) rm "$STATE/$4" "$STATE/networks" ;;
esac
"""
KIND_STANDS_IN = """
case "$1 $2" in
'get clusters') cat "$STATE/clusters" 2>/dev/null || echo 'No kind clusters found.' >&2 ;;
'create cluster') [ ! -e "$STATE/full" ] && echo scalable-api > "$STATE/clusters" ;;
'get nodes') echo scalable-api-control-plane scalable-api-worker scalable-api-worker2 ;;
'delete cluster') rm -f "$STATE/clusters" ;;
esac
"""
KUBECTL = 'cat > "$STATE/applied.yaml"'


class Machine:
    """A machine with the stand-ins alone on PATH."""

    def __init__(self, folder: Path) -> None:
        self.state, self.bin = folder / "state", folder / "bin"
        self.state.mkdir()
        self.bin.mkdir()
        for name in TOOLS:
            (self.bin / name).symlink_to(shutil.which(name) or name)
        for name, body in (("docker", DOCKER), ("kind", KIND_STANDS_IN), ("kubectl", KUBECTL)):
            stand_in(self.bin, name, body)

    def up(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        (self.state / "calls").write_text("")
        environment = {"PATH": str(self.bin), "STATE": str(self.state)}
        return subprocess.run([SCRIPT, *arguments], env=environment, capture_output=True, text=True, check=False)

    @property
    def calls(self) -> list[str]:
        return (self.state / "calls").read_text().splitlines()

    def made(self) -> list[str]:
        """The calls that make or start something."""
        words = ("docker run", "docker start", "docker network connect", "kind create", "kind delete", "docker rm")
        return [call for call in self.calls if call.startswith(words)]

    def hosts(self) -> dict[str, str]:
        """Node → its hosts.toml of localhost:5001."""
        files = self.state.glob("*/etc/containerd/certs.d/localhost:5001/hosts.toml")
        return {file.relative_to(self.state).parts[0]: file.read_text() for file in files}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_first_run_makes_both(machine: Machine) -> None:
    """Registry, cluster, their connection; each node knows what localhost:5001 is, and so do Tilt and skaffold by the ConfigMap."""
    done = machine.up()
    assert done.returncode == 0, done.stderr
    assert machine.made() == [
        f"docker run --detach --restart always --name {REGISTRY} --publish 127.0.0.1:5001:5000 registry:2",
        "kind create cluster --config kind-config.yaml --wait 120s",
        f"docker network connect kind {REGISTRY}",
    ]
    hosts = machine.hosts()
    assert sorted(hosts) == NODES
    assert [tomllib.loads(text) for text in hosts.values()] == [{"host": {f"http://{REGISTRY}:5000": {}}}] * 3
    assert f"kubectl --context {CONTEXT} apply --filename -" in machine.calls
    applied = yaml.safe_load((machine.state / "applied.yaml").read_text())
    assert applied["metadata"] == {"name": "local-registry-hosting", "namespace": "kube-public"}
    assert yaml.safe_load(applied["data"]["localRegistryHosting.v1"])["host"] == "localhost:5001"
    assert CONTEXT in done.stdout


def test_images_come_from_that_registry() -> None:
    """Overlay kind takes its images from the address that the script serves."""
    images = yaml.safe_load((ROOT / "manifests/overlays/kind/kustomization.yaml").read_text())["images"]
    assert {image["newName"].partition("/")[0] for image in images} == {"localhost:5001"}
    assert "port=5001" in SCRIPT.read_text()


def test_a_second_run_makes_nothing(machine: Machine) -> None:
    """Again and again: what is there stays, and what a node should know is told anew (it may be new)."""
    machine.up()
    done = machine.up()
    assert (done.returncode, machine.made()) == (0, [])
    assert len(machine.hosts()) == 3


def test_a_stopped_registry_is_started(machine: Machine) -> None:
    """After the machine's restart it is there, but does not run."""
    machine.up()
    (machine.state / REGISTRY).write_text("false\n")
    machine.up()
    assert machine.made() == [f"docker start {REGISTRY}"]


def test_delete_takes_both_away(machine: Machine) -> None:
    """And a second time it has nothing to do, which is no failure; then all can be made anew."""
    machine.up()
    for _ in range(2):
        assert machine.up("--delete").returncode == 0
        assert machine.made() == [
            "kind delete cluster --name scalable-api",
            f"docker rm --force --volumes {REGISTRY}",
        ]
        assert not (machine.state / REGISTRY).exists()
    machine.up()
    assert len(machine.made()) == 3


@pytest.mark.parametrize(
    ("program", "home"), [("docker", "docs.docker.com"), ("kind", "kind.sigs.k8s.io"), ("kubectl", "kubernetes.io")]
)
def test_a_missing_program_is_named(machine: Machine, program: str, home: str) -> None:
    """With the place to get it, before anything is made."""
    (machine.bin / program).unlink()
    done = machine.up()
    assert done.returncode == 1
    assert re.fullmatch(
        rf"kind-up: needs {program}, which is not on PATH: get it from https://{re.escape(home)}/\S+\n", done.stderr
    )
    assert machine.made() == []


def test_an_engine_that_does_not_answer_is_told(machine: Machine) -> None:
    """Docker installed and not started, or not for this user, is the commonest case."""
    (machine.state / "stopped").touch()
    done = machine.up()
    assert (done.returncode, machine.made()) == (1, [])
    assert "docker does not answer: start Docker" in done.stderr


def test_what_kind_cannot_make_ends_it(machine: Machine) -> None:
    """A port that is taken, say: kind tells which, and nothing goes on as if there were a cluster; a later run does the rest."""
    (machine.state / "full").touch()
    assert machine.up().returncode != 0
    assert not [call for call in machine.calls if call.startswith(("docker exec", "kubectl"))]
    (machine.state / "full").unlink()
    assert machine.up().returncode == 0
    assert [call.split()[:2] for call in machine.made()] == [["kind", "create"], ["docker", "network"]]


@pytest.mark.parametrize("arguments", [["--help"], ["--delete", "now"], ["delete"]])
def test_another_argument_gets_the_usage(machine: Machine, arguments: list[str]) -> None:
    """Nothing is guessed."""
    done = machine.up(*arguments)
    assert (done.returncode, machine.calls) == (2, [])
    assert "deploy/kind-up.sh --delete" in done.stderr


@pytest.mark.parametrize(
    "script",
    ["deploy/kind-up.sh", "deploy/build-service.sh", "deploy/build-images", "manifests/overlays/kind/keys.sh", "dev"],
)
def test_shellcheck_has_nothing_to_say(script: str) -> None:
    """POSIX sh, as their first lines say."""
    said = subprocess.run(
        [Path(sys.executable).with_name("shellcheck"), "--shell=sh", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.stdout == ""
