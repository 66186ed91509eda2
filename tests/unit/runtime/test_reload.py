"""Real processes: a package in a folder of the test's, edited while it runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.runtime.reload import folders, look

ROOT = Path(__file__).resolve().parents[3]
LIVING = """
import os, signal
print("{word}", os.getpid(), __name__, flush=True)
while True:
    signal.pause()
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    package = tmp_path / "shop"
    package.mkdir()
    (package / "__init__.py").touch()
    return package


@pytest.fixture
def process(shop: Path) -> Iterator[subprocess.Popen[str]]:
    """`python -m services.runtime.reload shop.till`, started when the test has written it."""
    (shop / "till.py").write_text(LIVING.format(word="first"))
    child = subprocess.Popen(
        [sys.executable, "-m", "services.runtime.reload", "shop.till"],
        env={**os.environ, "PYTHONPATH": f"{shop.parent}{os.pathsep}{ROOT}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    yield child
    child.kill()
    child.communicate()


def said(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def complained(child: subprocess.Popen[str], word: str) -> str:
    """The first line of stderr with this word."""
    assert child.stderr is not None
    return next(line for line in child.stderr if word in line)


def test_an_edit_starts_it_anew_with_the_same_pid(shop: Path, process: subprocess.Popen[str]) -> None:
    """The module runs as __main__; after an edit the new code runs under the old pid."""
    assert said(process) == f"first {process.pid} __main__"
    (shop / "till.py").write_text(LIVING.format(word="second"))
    assert said(process) == f"second {process.pid} __main__"


def test_a_new_file_of_any_kind_counts(shop: Path, process: subprocess.Popen[str]) -> None:
    """SQL and Lua lie beside the code: a file that comes, and its folder, is a change."""
    said(process)
    (shop / "sql").mkdir()
    (shop / "sql" / "sale.sql").write_text("SELECT 1")
    assert said(process) == f"first {process.pid} __main__"


def test_broken_code_waits_for_the_edit_that_mends_it(shop: Path, process: subprocess.Popen[str]) -> None:
    """A typing error shows its traceback and does not end the process."""
    said(process)
    (shop / "till.py").write_text("def broken(:\n")
    assert "SyntaxError" in complained(process, "SyntaxError")
    (shop / "till.py").write_text(LIVING.format(word="mended"))
    assert said(process) == f"mended {process.pid} __main__"


def test_its_exit_is_the_module_s(shop: Path, process: subprocess.Popen[str]) -> None:
    """A module that exits ends the process with its code; a signal reaches the module."""
    said(process)
    (shop / "till.py").write_text('import sys\nsys.exit("no setting")\n')
    assert "no setting" in complained(process, "no setting")
    assert process.wait(20) == 1


def test_a_signal_ends_it(process: subprocess.Popen[str]) -> None:
    """Nothing stands between a signal and the module."""
    said(process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == -signal.SIGTERM


def test_what_is_watched(shop: Path) -> None:
    """The operator's package and ours; bytecode is nobody's edit."""
    assert folders("scalable_operator") == {ROOT / "services", ROOT / "operator" / "scalable_operator"}
    (shop / "__pycache__").mkdir()
    (shop / "__pycache__" / "till.pyc").touch()
    (shop / "sale.lua").touch()
    assert set(look([shop])) == {shop / "__init__.py", shop / "sale.lua"}
