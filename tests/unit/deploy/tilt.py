"""Runs a Tiltfile as Tilt would, without Tilt and without a cluster: Starlark is Starlark (starlark-pyo3), `helm` really renders, and Tilt's
other builtins write down what they were asked.

The stand-ins have Tilt's names and parameters, those that our Tiltfile uses, so a misspelt one is refused as Tilt would refuse it. Callers:
test_tiltfile.py, which judges what was written down.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import starlark
import yaml

from tests.harness import helm
from tests.unit.charts.scenes import merged, nested

TILTFILE: Final = helm.ROOT / "Tiltfile"
CONTEXT: Final = "kind-scalable-api"
Step = Mapping[str, Any]
MODULES: Final = """
config = struct(define_bool=define_bool, parse=parse)
v1alpha1 = struct(ui_button=ui_button, cmd=cmd)
"""


@dataclass(frozen=True)
class Image:
    ref: str
    context: str
    dockerfile: str
    target: str
    build_args: Mapping[str, str]
    live_update: Sequence[Step]


@dataclass(frozen=True)
class Resource:
    """One call of k8s_resource; `workload` is empty where objects make a resource of their own."""

    workload: str
    new_name: str
    objects: Sequence[str]
    resource_deps: Sequence[str]
    labels: Sequence[str]
    port_forwards: Sequence[Step]
    manual: bool

    @property
    def name(self) -> str:
        return self.new_name or self.workload


@dataclass
class Tilt:
    """What one run asked for. Methods without an underscore are Tilt's builtins."""

    flags: Mapping[str, bool]
    context: str
    defined: list[str] = field(default_factory=list)
    contexts: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    charts: dict[str, str] = field(default_factory=dict)
    images: list[Image] = field(default_factory=list)
    objects: list[helm.Object] = field(default_factory=list)
    resources: list[Resource] = field(default_factory=list)
    locals: list[tuple[str, str, Sequence[str]]] = field(default_factory=list)
    buttons: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    commands: list[tuple[Sequence[str], Sequence[str]]] = field(default_factory=list)

    def version_settings(self, constraint: str) -> None: ...

    def k8s_context(self) -> str:
        return self.context

    def allow_k8s_contexts(self, contexts: str) -> None:
        self.contexts.append(contexts)

    def fail(self, msg: str) -> None:
        raise ValueError(msg)

    def define_bool(self, name: str, *, usage: str) -> None:
        self.defined.append(name)

    def parse(self) -> dict[str, bool]:
        return {name: value for name, value in self.flags.items() if name in self.defined}

    def sync(self, local_path: str, remote_path: str) -> Step:
        return {"local": self._path(local_path), "remote": remote_path}

    def docker_build(
        self,
        ref: str,
        context: str,
        *,
        dockerfile: str,
        target: str,
        build_args: dict[str, str],
        live_update: list[Step],
    ) -> None:
        self._path(context)
        self.images.append(Image(ref, context, self._path(dockerfile), target, build_args, live_update))

    def helm(
        self,
        chart: str,
        *,
        name: str,
        namespace: str,
        values: str,
        set: list[str],  # noqa: A002  # Tilt's
        kube_version: str,
    ) -> str:
        """The chart's tests are left out, as Tilt leaves them out; its hooks are objects like others."""
        self.charts[chart] = kube_version
        return _rendered(self._path(chart), name, namespace, self._path(values), tuple(set))

    def decode_yaml_stream(self, text: str) -> list[Any]:
        return list(_objects(text))

    def k8s_yaml(self, text: str) -> None:
        if "\n" not in text:
            text = (helm.ROOT / self._path(text)).read_text()
        self.objects += _objects(text)

    def port_forward(self, local_port: int, container_port: int, *, name: str, link_path: str = "") -> Step:
        return {"local": local_port, "container": container_port}

    def link(self, url: str, name: str) -> Step:
        return {"url": url, "name": name}

    def k8s_resource(
        self,
        workload: str = "",
        *,
        new_name: str = "",
        objects: Sequence[str] = (),
        resource_deps: Sequence[str] = (),
        labels: Sequence[str] = (),
        port_forwards: Sequence[Step] = (),
        links: Sequence[Step] = (),
        trigger_mode: str = "auto",
    ) -> None:
        manual = trigger_mode == "manual"
        self.resources.append(Resource(workload, new_name, objects, resource_deps, labels, port_forwards, manual))

    def local_resource(self, name: str, cmd: str, *, auto_init: bool, trigger_mode: str, labels: list[str]) -> None:
        self.locals.append((name, self._path(cmd.split(maxsplit=1)[0]), labels))

    def ui_button(
        self, *, name: str, text: str, icon_name: str, annotations: dict[str, str], location: dict[str, str]
    ) -> None:
        self.buttons.append((name, location))

    def cmd(self, *, name: str, args: list[str], annotations: dict[str, str], start_on: dict[str, list[str]]) -> None:
        self.commands.append((args, start_on["ui_buttons"]))

    def _path(self, path: str) -> str:
        self.paths.append(path)
        return path


def run(text: str, flags: Mapping[str, bool] | None = None, context: str = CONTEXT) -> Tilt:
    """Raises starlark.StarlarkError with the line, as Tilt would show it."""
    tilt = Tilt(flags or {}, context)
    module = starlark.Module()
    for name in (name for name in vars(Tilt) if not name.startswith("_") and callable(getattr(tilt, name))):
        module.add_callable(name, getattr(tilt, name))
    module["TRIGGER_MODE_MANUAL"] = "manual"
    globals_ = starlark.Globals.extended_by([starlark.LibraryExtension.StructType])
    dialect = starlark.Dialect.standard()
    dialect.enable_top_level_stmt = True
    for name, source in (("modules", MODULES), ("Tiltfile", text)):
        starlark.eval(module, starlark.parse(name, source, dialect), globals_)
    return tilt


@functools.cache
def _rendered(chart: str, name: str, namespace: str, values: str, sets: tuple[str, ...]) -> str:
    given = merged(helm.load_values(helm.ROOT / values), *map(_set, sets))
    rendered = helm.render((helm.ROOT / chart).name, given, name=name, namespace=namespace)
    things = [o for path, found in rendered.templates.items() if not path.startswith("tests/") for o in found]
    return yaml.dump_all(things, Dumper=yaml.CSafeDumper)


@functools.cache
def _objects(text: str) -> tuple[helm.Object, ...]:
    return tuple(thing for thing in yaml.load_all(text, yaml.CSafeLoader) if thing)


def _set(line: str) -> helm.Object:
    """`a.b=value` of helm's --set."""
    path, _, value = line.partition("=")
    return nested(path.split("."), {"true": True, "false": False}.get(value, value))
