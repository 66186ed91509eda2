"""Fixtures of the cluster tests: per Kubernetes minor one control plane for the whole session, per test a namespace of its own.

Namespaces are left to the control plane's end: deleting one costs the controller manager a call per resource type.
"""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import promises
from tests.cluster.binaries import MissingNeedError, minors, programs
from tests.cluster.client import Client, Object
from tests.cluster.control_plane import ControlPlane, control_plane
from tests.cluster.fault_proxy import FaultProxy, fault_proxy
from tests.cluster.operator_scene import Scene
from tests.harness import stores
from tests.harness.stores import PostgresServer, ValkeyServer

CRD = Path(__file__).resolve().parents[2] / "manifests" / "crds" / "scalableapis.yaml"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_numbers = itertools.count(1)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A first build takes minutes and a test seconds: the timeout is the test's alone. What takes minutes begins first and ends last."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(180, func_only=True))
    items.sort(
        key=lambda item: (item.get_closest_marker("ends") is not None) - (item.get_closest_marker("begins") is not None)
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Every promise beside its figure."""
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    lines = promises.lines(reports)
    if lines:
        terminalreporter.section("promises")
        for line in lines:
            terminalreporter.line(line)


@pytest.fixture
def promise(request: pytest.FixtureRequest) -> Callable[[str, float], None]:
    """Notes a figure of promises.py; fails far past it."""
    return lambda name, figure: promises.note(request.node, name, figure)


@pytest.fixture(scope="session", params=minors())
def minor(request: pytest.FixtureRequest) -> str:
    """Which Kubernetes: `1.34`; `assets` for the one in KUBEBUILDER_ASSETS."""
    return str(request.param)


@pytest.fixture(scope="session")
def binaries(minor: str, pytestconfig: pytest.Config) -> Mapping[str, Path]:
    """Its programs."""
    return built(minor, pytestconfig)


def built(minor: str, config: pytest.Config) -> Mapping[str, Path]:
    """A first build shows its progress through pytest's capture; what it lacks skips the test."""
    capture: Any = config.pluginmanager.getplugin("capturemanager")
    try:
        with capture.global_and_fixture_disabled():
            return programs(minor)
    except MissingNeedError as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def plane(binaries: Mapping[str, Path]) -> Iterator[ControlPlane]:
    with control_plane(binaries) as running:
        yield running


@pytest.fixture(scope="session")
def client(plane: ControlPlane) -> Iterator[Client]:
    """The administrator, with our CRD established and served."""
    with plane.client() as client:
        install_crd(client)
        yield client


def install_crd(client: Client) -> None:
    client.do("POST", CRDS, yaml.safe_load(CRD.read_text()), fieldValidation="Strict")
    client.watch(CRDS, _established, 20, fieldSelector="metadata.name=scalableapis.scalableapi.io")


def _established(crd: Object) -> bool:
    conditions = {c["type"]: c["status"] for c in crd["status"]["conditions"] or ()}
    return conditions.get("Established") == "True"


@pytest.fixture
def namespace(client: Client) -> str:
    return new_namespace(client)


def new_namespace(client: Client) -> str:
    """One with its ServiceAccount, without which no pod is made."""
    name = f"test-{next(_numbers)}"
    client.do("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    accounts = f"/api/v1/namespaces/{name}/serviceaccounts"
    client.watch(accounts, lambda _account: True, 20, fieldSelector="metadata.name=default")
    return name


@pytest.fixture
def kubectl(plane: ControlPlane, namespace: str) -> Callable[..., str]:
    return kubectl_of(plane, namespace)


def kubectl_of(plane: ControlPlane, namespace: str) -> Callable[..., str]:
    """Runs the minor's kubectl in the namespace and returns what it printed; `stdin` is given to it."""

    def run(*words: str, stdin: str = "") -> str:
        line = [str(plane.programs["kubectl"]), f"--kubeconfig={plane.kubeconfig}", f"--namespace={namespace}", *words]
        environment = {"HOME": str(plane.folder)}  # its cache
        done = subprocess.run(
            line, input=stdin, capture_output=True, text=True, check=False, timeout=30, env=environment
        )
        assert done.returncode == 0, f"kubectl {' '.join(words)}: {done.stderr}"
        return done.stdout

    return run


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """For pods: a server outside of the cluster, with the migrated template database."""
    with stores.postgres_server() as server:
        stores.run(server.template())
        yield server


@pytest.fixture(scope="session")
def valkey() -> Iterator[ValkeyServer]:
    """Likewise; whoever wants it empty flushes it."""
    with stores.valkey_server() as server:
        yield server


@pytest.fixture
def proxy(plane: ControlPlane) -> Iterator[FaultProxy]:
    """Before the API server: faults for whoever is given its `url`."""
    with fault_proxy(plane) as running:
        yield running


@pytest.fixture
def scene(plane: ControlPlane, client: Client, namespace: str) -> Iterator[Scene]:
    """The namespace with rights for an operator; nothing runs in it yet."""
    del client  # the CRD is served
    with Scene(plane, namespace) as made:
        yield made
