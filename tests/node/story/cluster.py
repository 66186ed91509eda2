"""The cluster that the story is told on: kubectl, helm, and the gateway's port on its node. It may be the test node or any other.

Caller: tests/node/story.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.node import binaries

Object = dict[str, Any]
ROOT: Final = Path(__file__).resolve().parents[3]
SYSTEM: Final = "scalable-api-system"
NAMESPACE: Final = "scalable-api"
NAME: Final = "scalable-api"
COMPONENTS: Final = ("gateway", "balancer", "api")


def commands(readme: str) -> list[str]:
    """The first shell block below `## On Kubernetes`: what the story runs."""
    section = readme.split("\n## On Kubernetes\n", 1)[1]
    return section.split("```sh\n", 1)[1].split("\n```", 1)[0].splitlines()


# A command more in the README is one more for the story to run. It adds --wait and the values of a small node.
OPERATOR, PLATFORM, SHOW = commands((ROOT / "README.md").read_text())
SMALL: Final = {"operator": "operator.yaml", "platform": "platform.yaml"}
VALUES: Final = Path(__file__).with_name("values")


@dataclass(frozen=True, slots=True)
class Cluster:
    """`registry` is where the project's images are, empty where the node has them under the charts' own names."""

    kubeconfig: Path
    registry: str

    def kubectl(self, *words: str, stdin: str = "", namespace: str = NAMESPACE, timeout_s: float = 180) -> str:
        """What it printed; AssertionError with what it complained of."""
        program = shutil.which("kubectl") or str(binaries.kubectl())
        line = [program, f"--namespace={namespace}", *words]
        done = subprocess.run(
            line, input=stdin, capture_output=True, text=True, check=False, timeout=timeout_s, env=self._environment()
        )
        assert done.returncode == 0, f"kubectl {' '.join(words)}: {done.stderr}"
        return done.stdout

    def get(self, *words: str, namespace: str = NAMESPACE) -> Object:
        found: Object = json.loads(self.kubectl("get", *words, "-o", "json", namespace=namespace))
        return found

    def items(self, *words: str, namespace: str = NAMESPACE) -> list[Object]:
        return list(self.get(*words, namespace=namespace)["items"])

    def helm(self, line: str, *more: str, major: str = "4") -> str:
        """README's line, run by that Helm from the checkout's root."""
        words = line.split()
        assert words[0] == "helm", line
        done = subprocess.run(
            [str(binaries.helm(major)), *words[1:], *more],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            env=self._environment(),
        )
        assert done.returncode == 0, f"{line}: {done.stderr}\n{self.kubectl('get', 'pods', '--all-namespaces')}"
        return done.stdout

    def _environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "KUBECONFIG": str(self.kubeconfig)}

    def install(self, what: str, major: str = "4") -> None:
        """`operator` or `platform`, until every pod is Ready."""
        line = {"operator": OPERATOR, "platform": PLATFORM}[what]
        self.helm(line, *self.given(what), "--wait", "--timeout=180s", major=major)

    def given(self, what: str) -> list[str]:
        """The flags of every install and upgrade: the values of a small node, and where the images are."""
        registry = [f"--set=global.imageRegistry={self.registry}"] if self.registry else []
        return [f"--values={VALUES / SMALL[what]}", *registry]

    def url(self) -> str:
        """The gateway's port on the node: outside of the cluster's network of Services."""
        port = self.get("service", f"{NAME}-gateway")["spec"]["ports"][0]["nodePort"]
        addresses = self.items("nodes")[0]["status"]["addresses"]
        address = next(a["address"] for a in addresses if a["type"] == "InternalIP")
        return f"http://{address}:{port}"

    def secret(self, name: str, key: str) -> str:
        return self.kubectl("get", "secret", name, "-o", f'go-template={{{{index .data "{key}" | base64decode}}}}')

    def pods(self, component: str = "", namespace: str = NAMESPACE) -> list[Object]:
        """Those that stay, of one component or all, by name."""
        selector = [f"--selector=app.kubernetes.io/component={component}"] if component else []
        found = self.items("pods", *selector, namespace=namespace)
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def ready(self, component: str = "", namespace: str = NAMESPACE) -> list[Object]:
        return [pod for pod in self.pods(component, namespace) if condition(pod, "Ready") == "True"]

    def status(self) -> Object:
        found: Object = self.get("scalableapi", NAME).get("status") or {}
        return found

    def component(self, name: str) -> Object:
        found: Object = next(c for c in self.status()["components"] if c["name"] == name)
        return found


def condition(thing: Object, kind: str) -> str:
    """`True`, `False`, `Unknown`, or nothing where it is not told."""
    told = thing.get("status", {}).get("conditions", ())
    return next((str(c["status"]) for c in told if c["type"] == kind), "")
