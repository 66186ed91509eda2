"""The images themselves: what is in them, and that each process runs as a restricted pod would have it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from services.cli.up.environment import allocator, secrets_of
from tests.cluster.binaries import MissingNeedError
from tests.generate import SERVICES
from tests.load.bench.packages import Need
from tests.load.bench.processes import free_ports
from tests.node import images
from tests.node.container import PID, Image, started

SITE_PACKAGES_MB = {"gateway": 60, "balancer": 60, "api": 75, "operator": 190}
START_S = 30
RUNC = Need("runc", ("runc",))
TOOLS = ("gcc", "cc", "ld", "as", "strip", "make", "pip", "pip3", "uv", "git", "curl", "wget")
KUBECONFIG = {
    "clusters": [{"name": "none", "cluster": {"server": "http://127.0.0.1:1"}}],
    "users": [{"name": "nobody", "user": {"token": "none"}}],
    "contexts": [{"name": "none", "context": {"cluster": "none", "user": "nobody"}}],
    "current-context": "none",
}

pytestmark = pytest.mark.timeout(1200)  # the first build of all images


@pytest.fixture(scope="module")
def archives() -> dict[str, Path]:
    try:
        images.as_root((RUNC,))
        return images.build()
    except MissingNeedError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module", params=SERVICES)
def service(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def image(service: str, archives: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    folder = tmp_path_factory.mktemp(service)
    folder.chmod(0o755)
    yield Image(archives[service], folder)
    shutil.rmtree(folder)


def settings(service: str, folder: Path, port: int, control: int) -> dict[str, str]:
    """As for a pod; stores and API server are not there, for an image's process starts without either."""
    made = secrets_of(folder / "secrets.json")
    stores = {"DATABASE_URL": "postgresql://scalable_app:p@127.0.0.1:1/db", "REDIS_URL": "redis://127.0.0.1:1"}
    keys = {"IDENTITY_SECRETS": made.identity_secrets, "API_KEY_PEPPERS": made.api_key_peppers}
    own = {
        "gateway": {"GATEWAY_PORT": str(port), "BALANCERS": "http://127.0.0.1:1", **stores, **keys},
        "balancer": {"LB_PORT": str(port), "API_SERVERS": "http://127.0.0.1:1"},
        "api": {"PORT": str(port), "FLEET": "http://127.0.0.1:1", **stores, **keys},
        "operator": {"KUBECONFIG": "/run/kubeconfig"},
    }
    common = {"HOST": "127.0.0.1", "CONTROL_PORT": str(control), "CONTROL_TOKEN": made.control_token}
    return common | own[service] | {"DRAIN_DELAY_SECONDS": "0"}


def answers(url: str, child: subprocess.Popen[str]) -> float:
    """Seconds until `url` says 200."""
    began = time.monotonic()
    while time.monotonic() - began < START_S:
        if child.poll() is not None:
            raise AssertionError(f"it ended: {child.communicate()[0]}")
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(url).status_code == 200:
                return time.monotonic() - began
        time.sleep(0.02)
    raise AssertionError(f"{url} says nothing in {START_S} s")


def test_it_runs_as_a_restricted_pod(service: str, image: Image, tmp_path: Path) -> None:
    """Read-only root, uid 65532, no capability: it answers, has written nothing but in /tmp, and SIGTERM ends it with 0."""
    port, control = free_ports(2)
    (image.root / "run" / "kubeconfig").write_text(json.dumps(KUBECONFIG))
    with started(image, tmp_path, settings(service, tmp_path, port, control)) as child:
        took = answers(f"http://127.0.0.1:{control}/livez", child)
        pid = int((tmp_path / PID).read_text())
        status = Path(f"/proc/{pid}/status").read_text()
        written = {file.name for file in Path(f"/proc/{pid}/root/tmp").iterdir()}
        os.kill(pid, signal.SIGTERM)
        said, _ = child.communicate(timeout=START_S)
    print(f"{service}: /livez after {took:.2f} s, {re.findall(r'VmRSS:.*?([0-9]+)', status)[0]} kB")
    assert re.search(r"^Uid:\s+65532\s+65532\s+65532\s+65532$", status, re.MULTILINE)
    assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE)
    assert written == set(), said
    assert child.returncode == 0, said


def test_the_cli_is_in_every_image(image: Image, tmp_path: Path) -> None:
    """Init containers and hooks run it by its name."""
    with started(image, tmp_path, {}, ["scalable-api", "migrate", "up", "--help"]) as child:
        said, _ = child.communicate(timeout=START_S)
    assert child.returncode == 0, said
    assert "--wait" in said


def test_its_configuration(service: str, image: Image) -> None:
    """The name a pod asks for, the number it runs as, what its labels tell, and the allocator's settings."""
    assert image.tags == [images.name(service)]
    assert image.config["User"] == "65532:65532"
    labels = image.config["Labels"]
    assert labels["org.opencontainers.image.title"] == f"scalable-api-{service}"
    assert labels["org.opencontainers.image.version"] == images.name(service).partition(":")[2]
    assert {f"{key}={value}" for key, value in allocator().items()} <= set(image.config["Env"])


def test_no_tools_and_no_fat(service: str, image: Image) -> None:
    """No compiler, no package installer, no client to fetch with; packages within their budget."""
    folders = [image.root / place for place in ("usr/bin", "usr/local/bin", "app/bin", "usr/sbin")]
    assert [str(f / tool) for f in folders for tool in TOOLS if (f / tool).exists()] == []
    packages = next((image.root / "app" / "lib").glob("python3.*/site-packages"))
    assert not (packages / "pip").exists()
    size = sum(file.lstat().st_size for file in packages.rglob("*") if not file.is_dir()) / 1e6
    print(f"{service}: site-packages {size:.0f} MB")
    assert size <= SITE_PACKAGES_MB[service]


def test_the_bill_of_materials(service: str, image: Image) -> None:
    """/app/sbom.cdx.json names every package that is there, ourselves first."""
    bill = json.loads((image.root / "app" / "sbom.cdx.json").read_text())
    packages = next((image.root / "app" / "lib").glob("python3.*/site-packages"))
    there = {folder.name.partition("-")[0].lower().replace("_", "-") for folder in packages.glob("*.dist-info")}
    named = {part["name"].lower().replace("_", "-").replace(".", "-") for part in bill["components"]}
    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["name"] == "scalable-api"
    assert there - {"scalable-api"} <= named
    assert len(there) > 20


def test_nothing_of_the_building_machine_is_inside(service: str, image: Image, archives: Mapping[str, Path]) -> None:
    """Neither pip's settings nor their canary, nor a path of the build, in configuration, history or any layer."""
    inside = archives[service].read_bytes()
    assert images.CANARY.encode() not in inside
    assert not [file for file in (image.root / "run").rglob("*") if "secrets" in file.parts]
    assert not list(image.root.glob("root/.cache/*"))
    told = json.dumps(image.document)
    assert not re.search(r"index-url|trusted-host|PIP_|https?://", told)


def test_a_dev_image_runs_what_is_edited_in_it(archives: Mapping[str, Path], tmp_path: Path) -> None:
    """Target dev: an edit of /app/src, as Tilt copies it in, starts the process anew; the container goes on."""
    image = Image(images.build(("balancer",), "dev")["balancer"], tmp_path / "image")
    for folder in (tmp_path, *tmp_path.parents[:2], tmp_path / "image"):
        folder.chmod(0o755)
    port, control = free_ports(2)
    with started(image, tmp_path, settings("balancer", tmp_path, port, control), readonly=False) as child:
        answers(f"http://127.0.0.1:{control}/livez", child)
        module = image.root / "app" / "src" / "services" / "balancer" / "app.py"
        assert module.stat().st_uid == 65532
        module.write_text(module.read_text() + "\nprint('edited', flush=True)\n")
        assert child.stdout is not None
        assert "edited" in next(line for line in child.stdout if line.startswith("edited"))
        answers(f"http://127.0.0.1:{control}/livez", child)
