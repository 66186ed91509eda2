"""skaffold.yaml by skaffold's own types, built from its Go module (go/skaffold), each profile applied, and over charts that really render.

skaffold itself needs an engine and a cluster, which are not here.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
import yaml

from tests.cluster.binaries import Pins
from tests.harness import helm
from tests.unit.charts.scenes import merged, nested
from tests.unit.deploy.built import mismatched, read_only, running, unbuildable, unsyncable
from tests.unit.deploy.conftest import built_program
from tests.unit.deploy.tilt import CONTEXT, TILTFILE, run

pytestmark = pytest.mark.timeout(120, func_only=True)  # the reader's first build is no test's own time
FILE = helm.ROOT / "skaffold.yaml"
READER: Final = Pins(Path(__file__).with_name("go") / "skaffold", {"skaffold": "."})
Read = Callable[..., helm.Object]


class RefusedError(Exception):
    """What skaffold's types say."""


@pytest.fixture(scope="session")
def read(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Read:
    """A skaffold.yaml's text, with a profile or none, as skaffold understands it."""
    program = built_program(READER, pytestconfig)
    file = tmp_path_factory.mktemp("skaffold") / "skaffold.yaml"

    def understood(text: str, *profile: str) -> helm.Object:
        file.write_text(text)
        told = subprocess.run([program, file, *profile], capture_output=True, text=True, check=False)
        if told.returncode != 0:
            raise RefusedError(told.stderr)
        return dict(yaml.safe_load(told.stdout))

    return understood


def problems(config: helm.Object) -> list[str]:
    """What is wrong with it, a sentence each."""
    missing = [f"no such path: {path}" for path in paths(config) if not (helm.ROOT / path).exists()]
    try:
        return missing or [*images(config), *syncs(config), *releases(config), *ports(config)]
    except (helm.RenderError, KeyError) as error:
        return [str(error)]


def paths(config: helm.Object) -> Iterator[str]:
    for artifact in config["build"]["artifacts"]:
        yield artifact["docker"]["dockerfile"]
    for release in config["deploy"]["helm"]["releases"]:
        yield from (release["chartPath"], *release.get("valuesFiles", ()))


def rendered(config: helm.Object) -> list[helm.Rendered]:
    """Each release, its images the artifacts' by skaffold's variables."""
    names = [artifact["image"] for artifact in config["build"]["artifacts"]]
    variables = {f"IMAGE_FULLY_QUALIFIED_{name.replace('-', '_')}": f"{name}:tag" for name in names}
    return [_render(release, variables) for release in config["deploy"]["helm"]["releases"]]


def _render(release: helm.Object, variables: dict[str, str]) -> helm.Rendered:
    files = [helm.load_values(helm.ROOT / file) for file in release.get("valuesFiles", ())]
    templates = release["setValueTemplates"].items()
    filled = {path: re.sub(r"\{\{\.(\w+)\}\}", lambda found: variables[found[1]], text) for path, text in templates}
    switches = {path: value == "true" for path, value in release.get("setValues", {}).items()}
    sets = [nested(path.split("."), value) for path, value in (filled | switches).items()]
    chart = release["chartPath"].rpartition("/")[2]
    return helm.render(chart, merged(*files, *sets), name=release["name"], namespace=release["namespace"])


def images(config: helm.Object) -> Iterator[str]:
    artifacts = config["build"]["artifacts"]
    pods = [pod for release in rendered(config) for _, pod in helm.pods(release)]
    yield from mismatched([artifact["image"] for artifact in artifacts], running(pods))
    for artifact in artifacts:
        docker = artifact["docker"]
        yield from unbuildable(artifact["image"], docker["target"], docker["buildArgs"])


def syncs(config: helm.Object) -> Iterator[str]:
    """A file keeps its path below the target; without a sync the root may be read-only."""
    rules = [(a["image"], rule) for a in config["build"]["artifacts"] for rule in a.get("sync", {}).get("manual", ())]
    for image, rule in rules:
        folder = rule["src"].partition("/")[0]
        yield from unsyncable(image, folder, f"{rule['dest']}/{folder}")
        if not [*helm.ROOT.glob(rule["src"])]:
            yield f"{image}: no file is {rule['src']}"
    if rules:
        lasting = [o["spec"]["template"] for r in rendered(config) for o in r.kind("Deployment")]
        yield from read_only(running(lasting))


def releases(config: helm.Object) -> Iterator[str]:
    """Both charts, where README installs them, the operator's first and awaited: it brings the kind of the other's resource."""
    found = [(r["name"], r["namespace"], r.get("wait", False)) for r in config["deploy"]["helm"]["releases"]]
    if found != [(name, home, name == "scalable-api-operator") for name, home in helm.HOMES.items()]:
        yield f"the releases are {found}"


def ports(config: helm.Object) -> Iterator[str]:
    """A forwarded Service is rendered, with that port."""
    services = [service for release in rendered(config) for service in release.kind("Service")]
    open_ports = {
        (s["metadata"]["name"], s["metadata"]["namespace"], p["port"]) for s in services for p in s["spec"]["ports"]
    }
    for forward in config["portForward"]:
        if (forward["resourceName"], forward["namespace"], forward["port"]) not in open_ports:
            yield f"no Service {forward['namespace']}/{forward['resourceName']} has port {forward['port']}"


@pytest.mark.parametrize("profile", ["dev", "prod"])
def test_a_profile_names_what_is_there(read: Read, profile: str) -> None:
    """Skaffold takes it, and nothing is wrong with what comes of it."""
    assert problems(read(FILE.read_text(), profile)) == []


def test_the_profiles(read: Read) -> None:
    """dev is chosen by the laptop's context and builds what can be edited; prod builds what is released; monitoring goes with either."""
    text = FILE.read_text()
    assert [profile["name"] for profile in read(text)["profiles"]] == ["dev", "monitoring", "prod"]
    assert [p.get("activation") for p in read(text)["profiles"]] == [[{"kubeContext": CONTEXT}], None, None]
    targets = [{a["docker"]["target"] for a in read(text, name)["build"]["artifacts"]} for name in ("dev", "prod")]
    assert targets == [{"dev"}, {"runtime"}]
    both = read(text, "dev", "monitoring")
    assert problems(both) == []
    assert {"ServiceMonitor", "PrometheusRule"} <= {
        thing["kind"] for release in rendered(both) for thing in release.objects
    }


def test_a_context_that_no_profile_is_for_is_refused(read: Read) -> None:
    """Without dev's or prod's values nothing of the platform is installed: the chart says which stores are missing."""
    (told,) = problems(read(FILE.read_text()))
    assert "postgres" in told


def test_tilt_builds_the_same(read: Read) -> None:
    """Two ways, one set of images: names, target, arguments; and the same values files."""
    dev, tilt = read(FILE.read_text(), "dev"), run(TILTFILE.read_text())
    ours = {(a["image"], a["docker"]["target"], a["docker"]["buildArgs"]["SERVICE"]) for a in dev["build"]["artifacts"]}
    assert ours == {(image.ref, image.target, image.build_args["SERVICE"]) for image in tilt.images}
    assert {path for path in paths(dev) if path.endswith(".yaml")} == {p for p in tilt.paths if p.endswith("/dev.yaml")}


BROKEN = {
    "a Dockerfile that is not there": ("deploy/Dockerfile", "Dockerfile", "no such path: Dockerfile"),
    "a chart that is not there": (
        "chartPath: charts/scalable-api\n",
        "chartPath: charts/platform\n",
        "no such path: charts/platform",
    ),
    "values that are not there": ("charts/scalable-api/ci/dev.yaml", "charts/scalable-api/dev.yaml", "no such path"),
    "a file that is not there": ("services/**/*.py", "services/**/*.pyx", "no file is services/**/*.pyx"),
    "a folder that is elsewhere": ("dest: /app/src", "dest: /app", "services is not at /app/services in the image"),
    "a missing image": ("gateway.image.ref:", "gateway.image.tag:", "runs in a chart and is not built"),
    "an image under another name": (
        "image: scalable-api-api\n",
        "image: scalable-api-web\n",
        "IMAGE_FULLY_QUALIFIED_scalable_api_api",
    ),
    "another service": (
        "buildArgs: {SERVICE: api}",
        "buildArgs: {SERVICE: gateway}",
        "scalable-api-api is built as gateway",
    ),
    "a target that is not there": ("value: dev}", "value: develop}", "the Dockerfile has no target develop"),
    "another namespace": ("namespace: scalable-api-system", "namespace: operators", "the releases are"),
    "a release too early": ("      wait: true", "      wait: false", "the releases are"),
    "a wrong Service": (
        "resourceName: scalable-api-gateway",
        "resourceName: gateway",
        "no Service scalable-api/gateway has port 8080",
    ),
    "a closed port": ("port: 8080,", "port: 80,", "no Service scalable-api/scalable-api-gateway has port 80"),
    "a field that is not there": (
        "chartPath: charts/scalable-api\n",
        "chart: charts/scalable-api\n",
        "field chart not found",
    ),
    "a missing field": ("- image: scalable-api-balancer\n    docker", "- docker", "required"),
    "a patch of nothing": (
        "/build/artifacts/3/docker",
        "/build/artifacts/4/docker",
        "invalid path: /build/artifacts/4/docker/target",
    ),
    "another version": ("skaffold/v4beta13", "skaffold/v4beta12", "apiVersion is skaffold/v4beta12"),
    "two of one kind": (
        "tagPolicy: {inputDigest: {}}",
        "tagPolicy: {inputDigest: {}, sha256: {}}",
        "only one element in set tag can be set",
    ),
}


@pytest.mark.parametrize(("was", "becomes", "told"), BROKEN.values(), ids=BROKEN)
def test_a_broken_one_is_told(read: Read, was: str, becomes: str, told: str) -> None:
    """Each of these mistakes is found, and named: by skaffold's types or by the rules above."""
    text = FILE.read_text()
    assert was in text
    try:
        found = problems(read(text.replace(was, becomes), "dev"))
    except RefusedError as refused:
        found = [str(refused)]
    assert [problem for problem in found if told in problem], found
