"""The tree's own rules: tests mirror sources, `operator/` never becomes a package, no machine's path or registry's address is committed."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Wiring that only starts a process; the integration tests run it for real.
EXEMPT_NAMES = {"__init__.py", "__main__.py", "app.py"}
# Tests that look at the tree itself, not at one module.
TREE_TESTS = {"test_layout.py", "conftest.py", "__init__.py"}


def sources() -> set[str]:
    files = (ROOT / "services").rglob("*.py")
    return {str(f.relative_to(ROOT / "services")) for f in files if f.name not in EXEMPT_NAMES and "_data" not in f.parts}


def mirrored(test: Path) -> str:
    relative = test.relative_to(ROOT / "tests" / "unit")
    return str(relative.with_name(relative.name.removeprefix("test_")))


def unit_tests() -> dict[str, Path]:
    files = (ROOT / "tests" / "unit").rglob("test_*.py")
    return {mirrored(f): f for f in files if f.name not in TREE_TESTS}


def committed() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    return [ROOT / f for f in listed if f and (ROOT / f).is_file()]


# Modules whose every line needs another process to mean anything: the named integration tests are their mirror.
BY_INTEGRATION: dict[str, str] = {}


def test_every_source_has_its_test() -> None:
    """A module under services/ without tests/unit/<same path>/test_<name>.py is an orphan, unless an integration test is named for it."""
    missing = sorted(sources() - set(unit_tests()) - set(BY_INTEGRATION))
    assert missing == []


def test_integration_mirrors_exist() -> None:
    """An integration test named as a module's mirror exists, and so does the module."""
    assert [m for m, t in BY_INTEGRATION.items() if m not in sources() or not (ROOT / t).exists()] == []


def test_every_unit_test_has_its_source() -> None:
    """A unit test whose module is gone goes too."""
    present = sources() | {str(f.relative_to(ROOT / "services")) for f in (ROOT / "services").rglob("*.py")}
    assert sorted(set(unit_tests()) - present) == []


def test_operator_is_the_standard_library() -> None:
    """With an operator/__init__.py `import operator` would get ours, and Python would die at start."""
    assert not (ROOT / "operator" / "__init__.py").exists()


def test_nothing_of_a_machine_is_committed() -> None:
    """No home folder, no work folder of a machine and no package registry's host stands in a committed file."""
    pattern = re.compile(rb"(?<![\w.])/(work|farm)/|/home/\w+/|/root/\.|files\.pythonhosted\.org|pypi\.org|registry\.npmjs\.org|proxy\.golang\.org")
    found = [str(f.relative_to(ROOT)) for f in committed() if f != Path(__file__) and pattern.search(f.read_bytes())]
    assert found == []
