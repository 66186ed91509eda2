"""An image's process as a restricted pod has it: runc, read-only root, uid 65532, no capability, a tmpfs of 64 MiB on /tmp.

It shares the test's network, so it binds 127.0.0.1. Needs root and runc.
"""

from __future__ import annotations

import json
import subprocess
import tarfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

TMP_MIB: Final = 64
PID: Final = "container.pid"
MOUNTS: Final = (
    {"destination": "/proc", "type": "proc", "source": "proc"},
    {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=65536k"]},
    {
        "destination": "/tmp",
        "type": "tmpfs",
        "source": "tmpfs",
        "options": ["nosuid", "nodev", "mode=1777", f"size={TMP_MIB}m"],
    },
)


class Image:
    """A docker-archive: its configuration, and its layers unpacked once."""

    def __init__(self, archive: Path, folder: Path) -> None:
        self.root = folder / "rootfs"
        self.root.mkdir(parents=True)
        with tarfile.open(archive) as opened:
            (manifest,) = json.load(_member(opened, "manifest.json"))
            self.tags: list[str] = manifest["RepoTags"]
            self.document: dict[str, Any] = json.load(_member(opened, manifest["Config"]))
            for layer in manifest["Layers"]:
                line = ["tar", "-x", "--numeric-owner", "--same-owner", "-p", "-C", str(self.root)]
                subprocess.run([*line, "--exclude=.wh.*"], input=_member(opened, layer).read(), check=True)

    @property
    def config(self) -> Mapping[str, Any]:
        config: dict[str, Any] = self.document["config"]
        return config


def _member(opened: tarfile.TarFile, name: str) -> Any:
    member = opened.extractfile(name)
    assert member is not None, f"the archive has no {name}"
    return member


def specification(
    image: Image, argv: Sequence[str], environment: Mapping[str, str], *, readonly: bool
) -> dict[str, Any]:
    """What kubelet would hand to runc for a pod under the restricted profile."""
    uid, gid = map(int, image.config["User"].split(":"))
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": uid, "gid": gid},
            "args": list(argv),
            "env": [*image.config["Env"], *(f"{key}={value}" for key, value in environment.items())],
            "cwd": image.config["WorkingDir"],
            "noNewPrivileges": True,
            "capabilities": {},
        },
        "root": {"path": str(image.root), "readonly": readonly},
        "mounts": MOUNTS,
        "linux": {"namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts")]},
    }


@contextmanager
def started(
    image: Image, folder: Path, environment: Mapping[str, str], argv: Sequence[str] = (), *, readonly: bool = True
) -> Iterator[subprocess.Popen[str]]:
    """The image's ENTRYPOINT, or `argv`; its output is in the pipe. `folder / PID` has its process on the host. Whatever is left at the end is killed."""
    name = f"scalable-api-{uuid.uuid4().hex[:8]}"
    bundle = folder / name
    bundle.mkdir()
    (bundle / "config.json").write_text(
        json.dumps(specification(image, argv or image.config["Entrypoint"], environment, readonly=readonly))
    )
    child = subprocess.Popen(
        ["runc", "--root", str(folder / "runc"), "run", "--pid-file", str(folder / PID), name],
        cwd=bundle,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield child
    finally:
        subprocess.run(
            ["runc", "--root", str(folder / "runc"), "delete", "--force", name], check=False, capture_output=True
        )
        child.communicate(timeout=20)
