"""The tree's own rules: tests mirror sources, `operator/` never becomes a package, no machine's path or registry's address is committed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Wiring that only starts a process; the integration tests run it for real.
EXEMPT_NAMES = {"__init__.py", "__main__.py", "app.py"}
# Tests that look at the tree itself, not at one module.
TREE_TESTS = {"test_layout.py", "conftest.py", "__init__.py"}


HOMES = (ROOT / "services", ROOT / "operator")  # tests/unit mirrors both: their folders' names differ


def modules() -> set[str]:
    found = {str(f.relative_to(home)) for home in HOMES for f in home.rglob("*.py")}
    return {module for module in found if "_data" not in Path(module).parts}


def sources() -> set[str]:
    return {module for module in modules() if Path(module).name not in EXEMPT_NAMES}


def harnesses() -> set[str]:
    """Machinery under tests/ that has unit tests of its own: the benchmark."""
    return {str(f.relative_to(ROOT / "tests")) for f in (ROOT / "tests" / "load").rglob("*.py")}


def mirrored(test: Path) -> str:
    relative = test.relative_to(ROOT / "tests" / "unit")
    return str(relative.with_name(relative.name.removeprefix("test_")))


def unit_tests() -> dict[str, Path]:
    files = (ROOT / "tests" / "unit").rglob("test_*.py")
    return {mirrored(f): f for f in files if f.name not in TREE_TESTS and not of_a_folder(f)}


def of_a_folder(test: Path) -> bool:
    """tests/unit/charts looks at charts/, which holds no Python to mirror; so with every folder of the root."""
    return (ROOT / test.relative_to(ROOT / "tests" / "unit").parts[0]).is_dir()


def committed() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    return [ROOT / f for f in listed if f and (ROOT / f).is_file()]


# Modules that mean something only beside their neighbours, real stores or another process: the test that drives them instead. A path that
# ends in "/" stands for a folder's modules that have no mirror of their own.
DRIVEN_BY: dict[str, str] = {
    "core/routes.py": "tests/integration/test_openapi.py",  # generated
    "core/verdicts.py": "tests/unit/http1/test_intake.py",  # values without a decision
    "http1/": "tests/unit/http1/test_intake.py",
    "controller/": "tests/unit/controller/test_loop.py",
    "controller/backends/": "tests/integration/test_controller.py",
    "scalable_operator/": "tests/cluster/test_operator_scaling.py",
    "api/cache/": "tests/integration/test_cache.py",
    "api/external/": "tests/integration/test_external.py",
    "api/fleet/": "tests/integration/test_admin.py",
    "api/repository/": "tests/integration/test_resources.py",
    "api/routes/": "tests/integration/test_openapi.py",
    "api/": "tests/integration/test_admin.py",
}


def driven(module: str) -> bool:
    """An integration test (or a folder's one unit test) is named for the module or its folder."""
    return module in DRIVEN_BY or f"{Path(module).parent}/" in DRIVEN_BY


def test_every_source_has_its_test() -> None:
    """A module without its unit test of the same path is an orphan, unless DRIVEN_BY names the test that drives it."""
    missing = sorted(m for m in sources() - set(unit_tests()) if not driven(m))
    assert missing == []


def test_driving_tests_exist() -> None:
    """Each entry of DRIVEN_BY names a test and a module or folder that exist."""
    gone = [m for m in DRIVEN_BY if not any((home / m).exists() for home in HOMES)]
    assert gone + [t for t in DRIVEN_BY.values() if not (ROOT / t).exists()] == []


def test_every_unit_test_has_its_source() -> None:
    """A unit test whose module is gone goes too."""
    assert sorted(set(unit_tests()) - modules() - harnesses()) == []


def test_operator_is_the_standard_library() -> None:
    """With an operator/__init__.py `import operator` would get ours, and Python would die at start."""
    assert not (ROOT / "operator" / "__init__.py").exists()
    line = "import operator, os; print(os.path.dirname(operator.__file__) == os.path.dirname(os.__file__))"
    asked = subprocess.run([sys.executable, "-c", line], cwd=ROOT, capture_output=True, text=True, check=True)
    assert asked.stdout.strip() == "True"


def test_nothing_of_a_machine_is_committed() -> None:
    """No home folder, no work folder of a machine and no package registry's host stands in a committed file."""
    registries = rb"files\.pythonhosted\.org|pypi\.org|registry\.npmjs\.org|proxy\.golang\.org"
    pattern = re.compile(rb"(?<![\w.])/(work|farm)/|/home/\w+/|/root/\.|" + registries)
    found = [str(f.relative_to(ROOT)) for f in committed() if f != Path(__file__) and pattern.search(f.read_bytes())]
    assert found == []
