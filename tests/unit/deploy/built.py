"""Rules for whoever builds our images for a cluster, the Tiltfile and skaffold.yaml: each tells what is wrong, a sentence each.

Callers: tilt_rules.py, test_skaffold.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from tests.harness import helm
from tests.node.images import context
from tests.unit.deploy.test_image import of

Containers = Mapping[str, list[helm.Object]]


def running(pods: Iterable[helm.Object]) -> Containers:
    """Image, tag and digest left out → the containers of it. The stores' official images are not ours to build."""
    found: dict[str, list[helm.Object]] = {}
    for container in (container for pod in pods for container in helm.containers(pod)):
        name = container["image"].partition("@")[0].partition(":")[0]
        if name.rpartition("/")[2].startswith("scalable-api-"):
            found.setdefault(name, []).append(container)
    return found


def mismatched(built: Iterable[str], run: Containers) -> Iterator[str]:
    """What the charts run is built, and nothing else."""
    yield from (f"image {name} runs in a chart and is not built" for name in sorted(run.keys() - {*built}))
    yield from (f"image {name} is built and runs in no chart" for name in sorted({*built} - run.keys()))


def unbuildable(ref: str, target: str, build_args: Mapping[str, str]) -> Iterator[str]:
    """The Dockerfile has the target and the arguments, and there are packages for the service, which the image is named for."""
    if target not in {rest.split(" AS ")[1] for _, rest in of("FROM")}:
        yield f"{ref}: the Dockerfile has no target {target}"
    if unknown := build_args.keys() - {rest.partition("=")[0] for _, rest in of("ARG")}:
        yield f"{ref}: the Dockerfile has no ARG {', '.join(sorted(unknown))}"
    service = build_args["SERVICE"]
    if not (helm.ROOT / "locks" / f"{service}.txt").exists():
        yield f"{ref}: no locks/{service}.txt"
    if ref.rpartition("/")[2] != f"scalable-api-{service}":
        yield f"{ref} is built as {service}"


def unsyncable(ref: str, local: str, remote: str) -> Iterator[str]:
    """A synced folder is in the image, and there."""
    home = [rest for stage, rest in of("WORKDIR") if stage == "build-dev"][-1]
    if remote != f"{home}/{local}":
        yield f"{ref}: {local} is not at {remote} in the image"
    if local not in {file.relative_to(helm.ROOT).parts[0] for file in context()}:
        yield f"{ref}: .dockerignore keeps {local} out"


def read_only(run: Containers) -> Iterator[str]:
    for name, containers in run.items():
        if any(container["securityContext"]["readOnlyRootFilesystem"] for container in containers):
            yield f"{name}: its root is read-only, so nothing can be synced"
