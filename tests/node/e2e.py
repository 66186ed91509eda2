"""`./dev e2e`: the README's Kubernetes story from this checkout, on a real node that is made for it, or on a cluster of yours.

./dev e2e                                                       root on Linux; everything is built, started and removed
./dev e2e --kubeconfig FILE --images localhost:5001             a cluster that runs, and the registry it pulls from
./dev e2e -- -k 101st                                           what stands after `--` is pytest's
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.binaries import MissingNeedError
from tests.load.bench.packages import PROMETHEUS
from tests.node import binaries, images, node, stores

ROOT = Path(__file__).resolve().parents[2]
NEED_MISSING = 77  # automake's exit code of a test that could not run
CHART = ROOT / "charts" / "scalable-api"


def main() -> int:
    flags, extra = _arguments()
    try:
        with contextlib.ExitStack() as until_then:
            kubeconfig = flags.kubeconfig or until_then.enter_context(own_node())
            began = time.monotonic()
            code = story(kubeconfig.resolve(), flags.images, extra)
            _say(f"story told in {time.monotonic() - began:.0f} s")
    except MissingNeedError as missing:
        _say(str(missing))
        return NEED_MISSING
    return code


def _arguments() -> tuple[argparse.Namespace, list[str]]:
    argv = sys.argv[1:]
    cut = argv.index("--") if "--" in argv else len(argv)
    parser = argparse.ArgumentParser(
        "./dev e2e", description="The Kubernetes story on a real node, or on a cluster of yours."
    )
    parser.add_argument("--kubeconfig", type=Path, help="a cluster that runs, instead of an own node")
    parser.add_argument(
        "--images", default="", metavar="REGISTRY", help="where that cluster pulls the project's images from"
    )
    return parser.parse_args(argv[:cut]), argv[cut + 1 :]


@contextlib.contextmanager
def own_node() -> Iterator[Path]:
    """Its kubeconfig; all images are on it."""
    began = time.monotonic()
    node.install()
    node.require((PROMETHEUS,))
    programs = binaries.programs()
    for major in binaries.HELMS:
        binaries.helm(major)
    with tempfile.TemporaryDirectory(prefix="sapi-images-") as folder:
        archives = [*images.build().values(), *stores.build(store_names(), Path(folder))]
        _say(f"built in {time.monotonic() - began:.0f} s")
        began = time.monotonic()
        with node.node(programs) as running:
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(running.load, archives))
            _say(f"node ready, images loaded in {time.monotonic() - began:.0f} s")
            yield running.plane.kubeconfig
            began = time.monotonic()
    _say(f"node gone in {time.monotonic() - began:.0f} s")


def store_names() -> dict[str, str]:
    """The chart's images of the development stores."""
    values: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())["devDatastores"]
    named = {store: values[store]["image"] for store in ("postgres", "valkey")}
    return {store: f"{image['registry']}/{image['repository']}:{image['tag']}" for store, image in named.items()}


def story(kubeconfig: Path, registry: str, extra: list[str]) -> int:
    """pytest's exit code."""
    line = ["-m", "pytest", "tests/node/story", "-s", f"--kubeconfig={kubeconfig}", f"--images={registry}", *extra]
    environment = {**os.environ, "NO_PROXY": "*"}
    return subprocess.run([sys.executable, *line], cwd=ROOT, check=False, env=environment).returncode


def _say(text: str) -> None:
    print(f"e2e: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
