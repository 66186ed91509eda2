"""Fixtures of the node's own tests: one node, one image with a shell and a web server (Debian's busybox)."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.binaries import MissingNeedError
from tests.node import archive, binaries, node, stores
from tests.node.node import Node

Kubectl = Callable[..., str]
BUSYBOX = "docker.io/local/busybox:1"


@pytest.fixture(scope="session")
def programs(pytestconfig: pytest.Config) -> dict[str, Path]:
    """Built on the first run, which shows its progress through pytest's capture."""
    capture: Any = pytestconfig.pluginmanager.getplugin("capturemanager")
    try:
        with capture.global_and_fixture_disabled():
            node.install()
            stores.busybox()
            return binaries.programs()
    except MissingNeedError as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def running(programs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node; until the module's end this process is in its network."""
    began = time.monotonic()
    with contextlib.ExitStack() as until_then:
        made = until_then.enter_context(node.node(programs))
        print(f"node ready in {time.monotonic() - began:.1f} s")
        made.load(busybox(tmp_path_factory.mktemp("busybox")))
        yield made
        began = time.monotonic()
        until_then.close()
        print(f"node gone in {time.monotonic() - began:.1f} s")


def busybox(folder: Path) -> Path:
    root = folder / "root"
    (root / "bin").mkdir(parents=True)
    shutil.copy(stores.busybox(), root / "bin" / "busybox")
    for name in ("sh", "httpd", "wget", "nslookup", "id", "cat", "sleep", "hostname", "mkdir"):
        (root / "bin" / name).symlink_to("busybox")
    archive.pack(root, BUSYBOX, folder / "busybox.tar", Cmd=["sh"])
    return folder / "busybox.tar"


@pytest.fixture(scope="module")
def kubectl(running: Node) -> Kubectl:
    """Runs kubectl and returns what it printed; `stdin` is given to it."""

    def run(*words: str, stdin: str = "") -> str:
        line = [str(running.plane.programs["kubectl"]), *words]
        environment = {"PATH": os.environ["PATH"], **running.environment}
        done = subprocess.run(
            line, input=stdin, capture_output=True, text=True, check=False, timeout=90, env=environment
        )
        assert done.returncode == 0, f"kubectl {' '.join(words)}: {done.stderr}"
        return done.stdout

    return run
