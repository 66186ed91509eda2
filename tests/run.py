"""`./dev test [STAGE…] [-- pytest arguments]`: every stage runs even if one fails; the last lines are the table and the sum.

A missing need skips loudly with the command that would install it; `REQUIRE=all` (CI) makes every skip a failure.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.load.bench.packages import PROMETHEUS, install_missing
from tests.node.e2e import NEED_MISSING

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent


@dataclass
class Result:
    stage: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0


def command(*argv: str) -> bool:
    """Runs one check, its output passed through; True if it exits 0."""
    print("+ " + " ".join(argv), flush=True)
    return subprocess.run([str(BIN / argv[0]), *argv[1:]], cwd=ROOT, check=False).returncode == 0


def check(_extra: list[str]) -> Result:
    """Format, lint, types, layers, generated files, charts."""
    steps = [
        command("ruff", "format", "--check", "."),
        command("ruff", "check", "."),
        command("mypy"),
        command("lint-imports"),
        command("python", "-m", "tests.generate", "--check"),
        command("python", "-m", "pytest", "-q", "tests/unit/charts/test_objects.py", "-k", "test_lint"),
    ]
    return Result("check", passed=sum(steps), failed=len(steps) - sum(steps))


def pytest(stage: str, *argv: str) -> Result:
    return counted(stage, "pytest", *argv)


def counted(stage: str, module: str, *argv: str) -> Result:
    """One pytest run, its closing line read for the counts; a need that is missing as a whole is a skip."""
    full = [str(BIN / "python"), "-m", module, *argv]
    print("+ " + " ".join(full[1:]), flush=True)
    process = subprocess.Popen(full, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    closing = ""
    for line in process.stdout:
        print(line, end="", flush=True)
        if re.search(r"\b\d+ (passed|failed|error|errors|skipped)\b", line):
            closing = line
    code = process.wait()
    if code == NEED_MISSING:
        return Result(stage, skipped=1)
    count = {word: int(n) for n, word in re.findall(r"(\d+) (passed|failed|errors?|skipped)", closing)}
    failed = count.get("failed", 0) + count.get("error", 0) + count.get("errors", 0)
    if code != 0 and failed == 0:  # a crash, no tests, or coverage below its bound
        failed = 1
    return Result(stage, count.get("passed", 0), failed, count.get("skipped", 0))


def unit(extra: list[str]) -> Result:
    install_missing((PROMETHEUS,))
    return pytest("unit", "tests/unit", "-n", "2", "--cov", "--cov-report=term:skip-covered", *extra)


def integration(extra: list[str]) -> Result:
    install_missing((PROMETHEUS,))
    return pytest("integration", "tests/integration", *extra)


def cluster(extra: list[str]) -> Result:
    return pytest("cluster", "tests/cluster", *extra)


def node(extra: list[str]) -> Result:
    return pytest("node", "tests/node", "--ignore=tests/node/story", *extra)


def e2e(extra: list[str]) -> Result:
    return counted("e2e", "tests.node.e2e", "--", *extra)


STAGES: dict[str, Callable[[list[str]], Result]] = {
    "check": check,
    "unit": unit,
    "integration": integration,
    "cluster": cluster,
    "node": node,
    "e2e": e2e,
}


def main() -> int:
    argv = sys.argv[1:]
    extra = argv[argv.index("--") + 1 :] if "--" in argv else []
    stages = argv[: argv.index("--")] if "--" in argv else argv
    unknown = [s for s in stages if s not in STAGES]
    if unknown:
        print(f"./dev test: no stage {unknown[0]!r}; there are {', '.join(STAGES)}", file=sys.stderr)
        return 2
    results = []
    for stage in stages or STAGES:
        started = time.monotonic()
        print(f"== {stage}", flush=True)
        result = STAGES[stage](extra)
        result.seconds = time.monotonic() - started
        if result.skipped and os.environ.get("REQUIRE") == "all":
            print(f"REQUIRE=all: {result.skipped} skipped in {stage} count as failed")
            result.failed += result.skipped
        results.append(result)
    print(f"\n{'stage':<14}{'passed':>8}{'failed':>8}{'skipped':>9}{'seconds':>9}")
    for r in results:
        print(f"{r.stage:<14}{r.passed:>8}{r.failed:>8}{r.skipped:>9}{r.seconds:>9.0f}")
    passed, failed, skipped = (sum(getattr(r, k) for r in results) for k in ("passed", "failed", "skipped"))
    print(f"\n{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
