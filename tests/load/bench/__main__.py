"""`./dev bench`: our gateway and balancer beside nginx, nginx with Lua and Redis, HAProxy and Envoy, interleaved in one run.

Prints a table and writes tests/load/out/<time>.json. The proxies have one core, load, upstream and stores the others. Exit codes
with --gate: 0, 1 a target is missed, 3 a peer is missing.
"""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any, Final

import structlog

from tests.load.bench import idle, packages, report, versions
from tests.load.bench.processes import ProcessError, cores
from tests.load.bench.report import Row
from tests.load.bench.run import Choice, run, say
from tests.load.bench.scenarios import SCENARIOS

ROUND_S: Final = 4
EXIT_FAILED: Final = 1
EXIT_UNFIT: Final = 2
EXIT_MISSING: Final = 3
EXIT_INTERRUPTED: Final = 130
ENDINGS: Final = (signal.SIGTERM, signal.SIGHUP)


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./dev bench", description="Measures gateway and balancer beside their peers."
    )
    named = f"only these of {', '.join(SCENARIOS)}"
    parser.add_argument("--scenario", nargs="+", choices=SCENARIOS, default=list(SCENARIOS), metavar="NAME", help=named)
    parser.add_argument("--proxy", nargs="+", default=[], metavar="NAME", help="only these rows, as in: balancer nginx")
    parser.add_argument(
        "--seconds",
        type=int,
        choices=range(1, 61),
        default=ROUND_S,
        metavar="N",
        help="whole ones, of a round (%(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="the last line is the report as one JSON object")
    parser.add_argument("--gate", action="store_true", help="exit 1 on a missed target, 3 on a missing peer")
    return parser.parse_args(argv)


def quiet() -> None:
    """What the harness logs (migrations) is no part of the report: warnings alone, on stderr."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def interruptible() -> None:
    """What would end us ends us as Ctrl-C does: children first, then the folders. A shell's background job begins with it ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in ENDINGS:
        signal.signal(number, _end)


def _end(*_: object) -> None:
    """Once: `timeout` and others send it to us and to our group, and the second one would break off the ending."""
    for number in ENDINGS:
        signal.signal(number, signal.SIG_IGN)
    signal.raise_signal(signal.SIGINT)


def main() -> int:
    args, room = arguments(), cores()
    if room is None:
        say("needs two cores: one for the proxy, one for its load")
        return EXIT_UNFIT
    quiet()
    interruptible()
    idle.raise_descriptors()
    packages.install_missing()
    missing = packages.missing()
    for name, command in missing.items():
        say(f"{name} is missing, its rows are left out; install it: {command}")
    if {"wrk", "nginx"} & set(missing):
        say("nothing can be measured without wrk and nginx")
        return EXIT_MISSING
    head: dict[str, Any] = {"commit": versions.commit(), "missing": missing}
    head["started"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    began = time.monotonic()
    try:
        rows, stores = run(Choice(args.scenario, args.proxy, args.seconds), room)
    except ProcessError as error:
        say(str(error))
        return EXIT_FAILED
    except KeyboardInterrupt:
        say("interrupted; everything it started has ended")
        return EXIT_INTERRUPTED
    return told(args, rows, stores, head | {"seconds": round(time.monotonic() - began)})


def told(args: argparse.Namespace, rows: list[Row], stores: dict[str, str], head: dict[str, Any]) -> int:
    """Table, file, JSON line, exit code."""
    content = {
        "ratios": report.ratios(rows),
        "rows": [report.as_json(rows, row) for row in rows],
        "machine": versions.machine(),
        "versions": versions.versions() | stores,
        **head,
    }
    print(report.table(rows))
    print(f"\n{report.save(content, head['started'])} ({head['seconds']} s, commit {content['commit']})")
    missed = report.missed(rows, args.scenario, head["missing"]) if args.gate else []
    for line in missed:
        print(line)
    if args.json:
        print(json.dumps(content, ensure_ascii=False))
    return EXIT_FAILED if missed else EXIT_MISSING if args.gate and head["missing"] else 0


if __name__ == "__main__":
    sys.exit(main())
