"""deploy/kind-config.yaml by the real kind, built from its Go module.

No container engine runs here, so nobody makes a cluster: kind reads and checks the file, and tells a docker that only writes down what it
would run.
"""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
import yaml

from tests.cluster.binaries import Pins
from tests.harness.helm import ROOT
from tests.unit.deploy.conftest import built_program, stand_in
from tests.unit.deploy.tilt import CONTEXT

pytestmark = pytest.mark.timeout(120, func_only=True)  # kind's first build is no test's own time
CONFIG = ROOT / "deploy" / "kind-config.yaml"
KIND: Final = Pins(Path(__file__).with_name("go") / "kind", {"kind": "sigs.k8s.io/kind"})
NODES = ["scalable-api-control-plane", "scalable-api-worker", "scalable-api-worker2"]

# Answers what kind asks of an engine before it makes a node, and makes none.
NO_ENGINE = """
case "$1 $2" in
'info --format') echo '{"MemoryLimit":true,"PidsLimit":true,"CPUShares":true,"CgroupVersion":"2","SecurityOptions":[]}' ;;
'run '*) echo 'no engine here' >&2; exit 1 ;;
esac
"""


@pytest.fixture(scope="session")
def kind(pytestconfig: pytest.Config) -> Path:
    """The real one, built on the first run."""
    return built_program(KIND, pytestconfig)


@pytest.fixture
def create(kind: Path, tmp_path: Path) -> Callable[[str], tuple[str, str]]:
    """`kind create cluster` with that configuration: what it told, and what docker was asked."""
    stand_in(tmp_path, "docker", NO_ENGINE)
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "STATE": str(tmp_path),
        "KUBECONFIG": str(tmp_path / "kubeconfig"),
    }

    def run(text: str) -> tuple[str, str]:
        line = [str(kind), "create", "cluster", "--config", "-"]
        told = subprocess.run(line, input=text, env=environment, capture_output=True, text=True, check=False)
        assert told.returncode == 1  # no engine, no cluster
        return told.stderr, (tmp_path / "calls").read_text()

    return run


def test_kind_takes_the_configuration(create: Callable[[str], tuple[str, str]]) -> None:
    """It would make three nodes, one of which controls and has this machine's ports 80 and 443; the context's name is the Tiltfile's."""
    told, calls = create(CONFIG.read_text())
    nodes = [line for line in calls.splitlines() if line.startswith("docker run ")]
    assert "unable to decode" not in told
    assert "Preparing nodes" in told
    assert sorted(re.findall(r"--name (\S+)", "\n".join(nodes))) == NODES
    assert [re.findall(r"--publish=127\.0\.0\.1:(\d+):(?:80|443)/TCP", line) for line in sorted(nodes)] == [
        ["80", "443"],
        [],
        [],
    ]
    assert f"kind-{yaml.safe_load(CONFIG.read_text())['name']}" == CONTEXT


@pytest.mark.parametrize(
    ("was", "becomes", "told"),
    [
        ("extraPortMappings", "portMappings", "field portMappings not found in type v1alpha4.Node"),
        ("role: worker", "role: helper", '"helper" is not a valid node role'),
        ("hostPort: 443", "hostPort: 80", "port mapping with same listen address, port and protocol"),
        ("containerPort: 80", "containerPort: 99999", "99999"),
        ("name: scalable-api", "name: Scalable_API", "not a valid cluster name"),
    ],
)
def test_kind_refuses_a_broken_one(create: Callable[[str], tuple[str, str]], was: str, becomes: str, told: str) -> None:
    """So the test above means something."""
    text = CONFIG.read_text()
    assert was in text
    answer, calls = create(text.replace(was, becomes))
    assert told in answer
    assert "docker run" not in calls


def test_containerd_looks_where_the_script_writes() -> None:
    """The folder of hosts.toml, in a patch that is TOML."""
    (patch,) = yaml.safe_load(CONFIG.read_text())["containerdConfigPatches"]
    registry = tomllib.loads(patch)["plugins"]["io.containerd.grpc.v1.cri"]["registry"]
    assert f"{registry['config_path']}/localhost:$port/hosts.toml" in (ROOT / "deploy" / "kind-up.sh").read_text()
