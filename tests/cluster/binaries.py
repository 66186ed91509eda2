"""etcd, the control plane's programs and kubectl, built from Go modules: a real Kubernetes without a container engine or a registry.

Each folder of go/ pins one Kubernetes minor: its go.mod requires k8s.io/kubernetes, its staging modules at the same version (a dependent
module does not inherit their relative paths) and the etcd it is run with. What is built lands in a folder of the user's cache named after
the pins' hash, each program once; KUBEBUILDER_ASSETS names a folder of finished ones instead.

Callers: tests/cluster/conftest.py; tests/node/binaries.py, whose programs are pinned and built the same way; `python -m
tests.cluster.binaries` builds ahead of the tests.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PINS: Final = Path(__file__).with_name("go")
PROGRAMS: Final[Mapping[str, str]] = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
    "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
    "kubectl": "k8s.io/kubernetes/cmd/kubectl",
}
ASSETS: Final = "KUBEBUILDER_ASSETS"
KUBERNETES: Final = r"k8s\.io/kubernetes (v\S+)"


class MissingNeedError(Exception):
    """What is not on this machine, and how to get it."""


@dataclass(frozen=True, slots=True)
class Pins:
    """A folder with go.mod and go.sum, and the programs built from it: their names and Go packages."""

    folder: Path
    programs: Mapping[str, str]

    def pinned(self, pattern: str) -> str:
        """What go.mod says after `pattern`, which has one group."""
        found = re.search(rf"^\s*{pattern}", (self.folder / "go.mod").read_text(), re.MULTILINE)
        assert found, f"{self.folder}/go.mod says nothing like {pattern}"
        return found[1]


def minors() -> list[str]:
    """What the tests run on: the pinned minors, oldest first, or `assets`: the one KUBEBUILDER_ASSETS holds."""
    if ASSETS in os.environ:
        return ["assets"]
    return sorted((folder.name for folder in PINS.iterdir() if folder.is_dir()), key=_numbers)


def programs(minor: str) -> dict[str, Path]:
    """Every program of `minor`, built where it is missing; raises MissingNeedError, CalledProcessError."""
    if minor == "assets":
        return _finished(Path(os.environ[ASSETS]))
    return built(_pins(minor))


def built(pins: Pins) -> dict[str, Path]:
    """Every program of the pins, built where it is missing; raises MissingNeedError, CalledProcessError."""
    folder = cache(pins.folder)
    missing = [name for name in pins.programs if not (folder / name).exists()]
    if missing:
        go = go_command(pins.pinned(r"go (\S+)"))
        folder.mkdir(parents=True, exist_ok=True)
        for number, name in enumerate(missing, 1):
            _say(f"building {name} of {pins.folder.name} ({number} of {len(missing)} missing; minutes)")
            _say(f"built {folder / name} in {_build(go, pins, name, folder):.0f} s")
    return {name: folder / name for name in pins.programs}


def cache(pins: Path) -> Path:
    """The folder of what was built of those pins; other pins or sources, another folder."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    content = b"".join(file.read_bytes() for file in (*pins.glob("go.sum"), *sorted(pins.glob("*.go"))))
    return home / "scalable-api" / "kubernetes" / hashlib.sha256(content).hexdigest()[:16]


def pinned_version(minor: str) -> str:
    """`v1.34.4`."""
    return _pins(minor).pinned(KUBERNETES)


def _pins(minor: str) -> Pins:
    return Pins(PINS / minor, PROGRAMS)


def go_command(oldest: str) -> Path:
    """PATH's go, else the wheel's, of at least the version `oldest`; raises MissingNeedError."""
    found = {go: _go_version(go) for go in _go_candidates()}
    fitting = [go for go, version in found.items() if _numbers(version) >= _numbers(oldest)]
    if not fitting:
        seen = ", ".join(f"{go} is {version}" for go, version in found.items()) or "there is none"
        raise MissingNeedError(
            f"building Kubernetes needs Go {oldest} or newer ({seen}): install it from https://go.dev/dl, "
            f"or set {ASSETS} to a folder with {', '.join(PROGRAMS)}"
        )
    return fitting[0]


def _finished(folder: Path) -> dict[str, Path]:
    missing = [name for name in PROGRAMS if not (folder / name).exists()]
    if missing:
        raise MissingNeedError(
            f"{ASSETS}={folder} has no {', '.join(missing)}: put them there, or unset it to build all"
        )
    return {name: folder / name for name in PROGRAMS}


def _build(go: Path, pins: Pins, name: str, folder: Path) -> float:
    """Builds one program, seconds taken. A rename at the end: an interrupted build leaves nothing that looks finished."""
    began = time.monotonic()
    # GOTOOLCHAIN: a Go that is too old is told above, not replaced behind the user's back.
    environment = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    with tempfile.TemporaryDirectory(dir=folder) as unfinished:
        out = Path(unfinished) / name
        flags = ["-trimpath", "-buildvcs=false", "-ldflags", f"-s -w {_stamps(pins)}"]
        line = [str(go), "build", *flags, "-o", str(out), pins.programs[name]]
        subprocess.run(line, cwd=pins.folder, env=environment, check=True)
        out.replace(folder / name)
    return time.monotonic() - began


def _stamps(pins: Pins) -> str:
    """The version that Kubernetes' programs tell; without it they refuse each other. Others know theirs from go.mod."""
    if "k8s.io/kubernetes " not in (pins.folder / "go.mod").read_text():
        return ""
    version = pins.pinned(KUBERNETES)
    major, minor, _patch = version.removeprefix("v").split(".")
    stamps = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    return " ".join(f"-X k8s.io/component-base/version.{key}={value}" for key, value in stamps.items())


def _go_candidates() -> Iterator[Path]:
    if on_path := shutil.which("go"):
        yield Path(on_path)
    wheel = importlib.util.find_spec("go")
    if wheel is not None and wheel.origin is not None and (go := Path(wheel.origin).with_name("bin") / "go").exists():
        yield go


def _go_version(go: Path) -> str:
    told = subprocess.run(
        [str(go), "env", "GOVERSION"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "GOTOOLCHAIN": "local"},
    )
    return told.stdout.strip().removeprefix("go")


def _numbers(version: str) -> tuple[int, ...]:
    """`1.26.8`, also `1.27rc1`, as numbers to compare."""
    return tuple(int(number) for number in re.findall(r"\d+", version))


def _say(text: str) -> None:
    print(f"tests/cluster: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    for each in minors():
        programs(each)
