"""The project's images, built from deploy/Dockerfile by deploy/build-images, as files that containerd imports.

`build(("gateway", "api"))` → `{"gateway": Path("….tar"), "api": Path("….tar")}`, docker-archives; `build()` makes all of SERVICES.
Each holds one image whose name and tag are `name(service)`: `ghcr.io/scalable-api/scalable-api-gateway:1.0.0`, `…-balancer:1.0.0`,
`…-api:1.0.0`, `…-operator:1.0.0`; the tag is the version in pyproject.toml. Nothing is pushed: import the file, and use
`imagePullPolicy: Never` or `IfNotPresent`.

The files lie in the user's cache, in a folder named after the hash of all that goes into an image, so a second call with an unchanged
checkout costs a tenth of a second. Where no container engine answers, buildah builds, and Debian's base comes from debootstrap: no registry
is asked. That needs root. Raises MissingNeedError with what to install.

Callers: tests/node; `python -m tests.node.images [SERVICE…]` builds ahead and prints the files.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.cluster.binaries import MissingNeedError
from tests.generate import SERVICES
from tests.load.bench.packages import Need
from tests.node.node import require

ROOT: Final = Path(__file__).resolve().parents[2]
REPOSITORY: Final = "ghcr.io/scalable-api"
SUITE: Final = "bookworm"
BASE: Final = f"localhost/scalable-api/base:{SUITE}"
"""Debian's smallest, made here; the Dockerfile's own base is a registry's."""
CANARY: Final = "pip-settings-canary.invalid"
"""A host that pip is told to trust while it builds; test_images.py looks for it in what was built."""
UNUSED_S: Final = 7 * 86_400
BUILDERS: Final = (
    Need("buildah", ("buildah",)),
    Need(
        "netavark", ("netavark",), (Path("/usr/lib/podman/netavark"),)
    ),  # buildah only recommends it, and ends without it
    Need("debootstrap", ("debootstrap",)),
)
RECIPE: Final = ("deploy/Dockerfile", "deploy/build-images", ".dockerignore", "tests/node/images.py")


def name(service: str) -> str:
    """`ghcr.io/scalable-api/scalable-api-gateway:1.0.0`: what a pod asks for."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return f"{REPOSITORY}/scalable-api-{service}:{version}"


def build(services: tuple[str, ...] = SERVICES, target: str = "runtime") -> dict[str, Path]:
    """Docker-archives of these services; `target` is the Dockerfile's, `dev` for Tilt. Raises MissingNeedError, CalledProcessError."""
    folder = cache()
    with _alone(folder):
        files = {service: folder / target / f"scalable-api-{service}.tar" for service in services}
        missing = [service for service, file in files.items() if not file.exists()]
        if missing:
            _build(missing, target, folder / target)
        _forget(folder)
    return files


def cache() -> Path:
    """This checkout's folder in the cache; another content, another folder."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "scalable-api" / "images" / _hash()[:16]


def context() -> list[Path]:
    """The files that .dockerignore lets into a build."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    roots = [ROOT / line[1:] for line in lines if line.startswith("!")]
    files = [file for root in roots for file in (root.rglob("*") if root.is_dir() else [root]) if file.is_file()]
    return sorted(file for file in files if "__pycache__" not in file.parts)


def _hash() -> str:
    digest = hashlib.sha256()
    for file in (*context(), *(ROOT / path for path in RECIPE)):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(ROOT)} {file.stat().st_mode & 0o111} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def engine() -> bool:
    """Whether a container engine answers; without one buildah builds."""
    docker = shutil.which("docker")
    return docker is not None and subprocess.run([docker, "version"], capture_output=True, check=False).returncode == 0


def _build(services: list[str], target: str, folder: Path) -> None:
    trusted = os.environ.get("PIP_TRUSTED_HOST", "")
    environment = {**os.environ, "REPOSITORY": REPOSITORY, "PIP_TRUSTED_HOST": f"{trusted} {CANARY}".strip()}
    if not engine():
        as_root(BUILDERS)
        environment["BASE_IMAGE"] = _base()
    _say(f"building {', '.join(services)} (minutes the first time)")
    began = time.monotonic()
    line = ["deploy/build-images", "--target", target, "--out", str(folder), *services]
    subprocess.run(line, cwd=ROOT, env=environment, check=True, stdout=sys.stderr)
    _say(f"built in {time.monotonic() - began:.0f} s")


def _base() -> str:
    """Debian in buildah's store, made once."""
    if subprocess.run(["buildah", "inspect", BASE], capture_output=True, check=False).returncode != 0:
        _say("making Debian's base by debootstrap (a minute, once)")
        container = _told("buildah", "from", "scratch")
        try:
            root = Path(_told("buildah", "mount", container))
            _told("debootstrap", "--variant=minbase", SUITE, str(root))
            for left in (
                "var/cache/apt",
                "var/lib/apt/lists",
                "var/log",
                "usr/share/doc",
                "usr/share/man",
                "usr/share/locale",
            ):
                shutil.rmtree(root / left)  # as Debian's own slim image does
                (root / left).mkdir()
            _told("buildah", "commit", "--quiet", container, BASE)
        finally:
            _told("buildah", "rm", container)
    return BASE


def _told(*line: str) -> str:
    return subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def as_root(needs: Iterable[Need]) -> None:
    """Installs what is missing; raises MissingNeedError where that cannot be, or who asks is not root."""
    if os.geteuid() != 0:
        raise MissingNeedError(f"{', '.join(need.name for need in needs)} need root")
    require(needs)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two builders of one content: the second waits, and finds the files."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _forget(folder: Path) -> None:
    """Other contents' folders go when nobody asked for them for a week."""
    os.utime(folder)
    for other in folder.parent.iterdir():
        if time.time() - other.stat().st_mtime > UNUSED_S:
            shutil.rmtree(other)


def _say(text: str) -> None:
    print(f"tests/node: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    for path in build(tuple(sys.argv[1:]) or SERVICES).values():
        print(path)
