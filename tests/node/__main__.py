"""`python -m tests.node [COMMAND…]`: a command (else your shell) on a real node, with kubectl and helm on PATH and KUBECONFIG set; no
trace of it afterwards. `ctr images import FILE` loads a docker archive.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

from tests.node import binaries, settings
from tests.node.node import node


def main() -> int:
    line = sys.argv[1:] or [os.environ.get("SHELL", "/bin/sh")]
    programs, helm = binaries.programs(), binaries.helm("4")
    began = time.monotonic()
    with node(programs) as running:
        print(f"node ready in {time.monotonic() - began:.1f} s; state in {running.state}", file=sys.stderr)
        path = os.pathsep.join([str(programs["kubectl"].parent), str(helm.parent), os.environ["PATH"]])
        containerd = {"CONTAINERD_ADDRESS": str(settings.socket(running.state)), "CONTAINERD_NAMESPACE": "k8s.io"}
        code = subprocess.run(
            line, check=False, env={**os.environ, **running.environment, **containerd, "PATH": path}
        ).returncode
        began = time.monotonic()
    print(f"node gone in {time.monotonic() - began:.1f} s", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
