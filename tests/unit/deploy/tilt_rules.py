"""What holds of every Tiltfile of ours: what it names is there, and all that is there is named. Each rule tells what is wrong, a sentence each.

Caller: test_tiltfile.py, for the Tiltfile and for broken copies of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import starlark
import yaml

from tests.harness import helm
from tests.unit.deploy.built import Containers, mismatched, read_only, running, unbuildable, unsyncable
from tests.unit.deploy.tilt import Resource, Tilt, run


def problems(text: str) -> list[str]:
    """What is wrong with a Tiltfile, a sentence each."""
    try:
        tilt = run(text)
    except (starlark.StarlarkError, helm.RenderError) as error:
        return [str(error)]
    found = (paths, versions, images, live_updates, resources, groups, order, ports, buttons)
    return [problem for look in found for problem in look(tilt)]


def paths(tilt: Tilt) -> Iterator[str]:
    """Every path named is there."""
    commands = [args[0] for args, _ in tilt.commands if "/" in args[0]]
    for path in (*tilt.paths, *commands):
        if not (helm.ROOT / path).exists():
            yield f"no such path: {path}"


def versions(tilt: Tilt) -> Iterator[str]:
    """Charts are rendered for the oldest Kubernetes that they take."""
    for chart, version in tilt.charts.items():
        oldest = yaml.safe_load((helm.ROOT / chart / "Chart.yaml").read_text())["kubeVersion"]
        if oldest != f">={version}-0":
            yield f"{chart} is for Kubernetes {oldest}, not {version}"


def workloads(tilt: Tilt) -> dict[str, helm.Object]:
    """Tilt's own resources: what has a pod template, by its name."""
    return {o["metadata"]["name"]: o for o in tilt.objects if o["kind"] in {"Deployment", "StatefulSet", "Job"}}


def used(tilt: Tilt) -> Containers:
    return running(thing["spec"]["template"] for thing in workloads(tilt).values())


def images(tilt: Tilt) -> Iterator[str]:
    """What the charts run is built, and can be."""
    yield from mismatched([image.ref for image in tilt.images], used(tilt))
    for image in tilt.images:
        yield from unbuildable(image.ref, image.target, image.build_args)


def live_updates(tilt: Tilt) -> Iterator[str]:
    """What is synced gets where the processes read it."""
    for image in tilt.images:
        for step in image.live_update:
            yield from unsyncable(image.ref, step["local"], step["remote"])
    yield from read_only(used(tilt))


def select(tilt: Tilt, selector: str) -> list[helm.Object]:
    """The objects that `name:kind` of k8s_resource's `objects` means; case does not matter."""
    name, _, kind = selector.lower().partition(":")
    return [o for o in tilt.objects if o["metadata"]["name"].lower() == name and o["kind"].lower() == kind]


def resources(tilt: Tilt) -> Iterator[str]:
    """Each resource is a rendered workload, or objects that are there, each once."""
    for resource in tilt.resources:
        if resource.workload and resource.workload not in workloads(tilt):
            yield f"k8s_resource {resource.workload}: no chart renders such a workload"
        for selector in resource.objects:
            if (number := len(select(tilt, selector))) != 1:
                yield f"k8s_resource {resource.name}: {selector} is {number} objects"
    taken = Counter(selector.lower() for resource in tilt.resources for selector in resource.objects)
    yield from (f"{selector} is in two resources" for selector, number in taken.items() if number > 1)


def groups(tilt: Tilt) -> Iterator[str]:
    """No workload is without a label, and no object is left for Tilt to apply at any time it likes."""
    configured = {resource.workload for resource in tilt.resources}
    yield from (f"workload {name} has no k8s_resource" for name in workloads(tilt).keys() - configured)
    yield from (f"resource {r.name} has no label" for r in tilt.resources if not r.labels)
    yield from (f"local_resource {name} has no label" for name, _, labels in tilt.locals if not labels)
    chosen = [o for r in tilt.resources for s in r.objects for o in select(tilt, s)]
    for thing in tilt.objects:
        if thing not in chosen and thing not in workloads(tilt).values() and not serves(tilt, thing):
            yield f"{thing['metadata']['name']}:{thing['kind']} is in no resource"


def serves(tilt: Tilt, thing: helm.Object) -> bool:
    """A Service goes with the workload whose pods it selects."""
    if thing["kind"] != "Service":
        return False
    pods = [o["spec"]["template"]["metadata"]["labels"] for o in workloads(tilt).values()]
    return any(thing["spec"]["selector"].items() <= labels.items() for labels in pods)


def order(tilt: Tilt) -> Iterator[str]:
    """What a resource waits for comes before it, so that nothing waits in a circle: namespaces, and the CRD long before its kind."""
    names = [resource.name for resource in tilt.resources]
    yield from (f"two resources are called {name}" for name, number in Counter(names).items() if number > 1)
    for index, resource in enumerate(tilt.resources):
        for name in resource.resource_deps:
            if name not in names[:index]:
                yield f"k8s_resource {resource.name} waits for {name}, which does not come before it"
    waits = before(tilt)
    yield from (f"{name} does not wait for the namespaces" for name in names[1:] if "namespaces" not in waits[name])
    home = {o["kind"]: r.name for r in tilt.resources for s in r.objects for o in select(tilt, s)}
    if home.get("CustomResourceDefinition") not in waits.get(home.get("ScalableApi", ""), ()):
        yield "the ScalableApi does not wait for its CRD"


def before(tilt: Tilt) -> dict[str, set[str]]:
    """Resource → all that it waits for and that comes before it."""
    found: dict[str, set[str]] = {}
    for resource in tilt.resources:
        deps = set(resource.resource_deps)
        found[resource.name] = deps.union(*(found.get(name, set()) for name in deps))
    return found


def ports(tilt: Tilt) -> Iterator[str]:
    """A port of this machine is forwarded once, to one that the pod's containers declare."""
    taken = Counter(forward["local"] for resource in tilt.resources for forward in resource.port_forwards)
    yield from (f"port {port} is forwarded twice" for port, number in taken.items() if number > 1)
    for resource in tilt.resources:
        open_ports = declared(tilt, resource)
        for forward in resource.port_forwards:
            if forward["container"] not in open_ports:
                yield f"{resource.name} has no port {forward['container']}"


def declared(tilt: Tilt, resource: Resource) -> set[int]:
    workload = workloads(tilt).get(resource.workload)
    found = helm.containers(workload["spec"]["template"]) if workload else []
    return {port["containerPort"] for container in found for port in container.get("ports") or ()}


def buttons(tilt: Tilt) -> Iterator[str]:
    """A button stands at a resource that is there, and starts a command."""
    names = {resource.name for resource in tilt.resources}
    started = {name for _, starts in tilt.commands for name in starts}
    for name, location in tilt.buttons:
        if location["component_type"] != "Resource" or location["component_id"] not in names:
            yield f"button {name} stands at {location['component_id']}, which is no resource"
        if name not in started:
            yield f"button {name} starts nothing"
    yield from (f"no button starts what {name} starts" for name in started - {name for name, _ in tilt.buttons})
