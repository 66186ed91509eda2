"""A folder packed as a one-layer image, in the form that `docker save` writes: no container engine, no registry.

Callers: tests/node/node.py (pause), tests/node/stores.py.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
PATH: Final = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def pack(root: Path, name: str, out: Path, **config: Any) -> None:
    """Writes `root` to `out` as the image `name`; `config` is OCI's: Entrypoint, Cmd, Env, User, …"""
    with tempfile.NamedTemporaryFile(suffix=".tar", dir=out.parent) as layer:
        subprocess.run(["tar", "-C", root, "--numeric-owner", "-cf", layer.name, "."], check=True)
        digest = hashlib.file_digest(layer, "sha256").hexdigest()
        described = json.dumps(_description(digest, config)).encode()
        described_as = f"{hashlib.sha256(described).hexdigest()}.json"
        manifest = [{"Config": described_as, "RepoTags": [name], "Layers": [f"{digest}/layer.tar"]}]
        with tarfile.open(out, "w") as archive:
            _add(archive, described_as, described)
            _add(archive, "manifest.json", json.dumps(manifest).encode())
            archive.add(layer.name, f"{digest}/layer.tar")


def _description(digest: str, config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "architecture": ARCHITECTURES[platform.machine()],
        "os": "linux",
        "config": {**config, "Env": [PATH, *config.get("Env", ())]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))
