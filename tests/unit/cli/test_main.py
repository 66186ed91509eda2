"""The program as a user meets it: help, wrong words, pipes, exit codes. Each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from services.cli.errors import FAILED, INTERRUPTED, USAGE, CliError
from services.cli.main import guarded


def program(*argv: str, home: Path, **env: str) -> subprocess.CompletedProcess[str]:
    full = {**os.environ, "XDG_STATE_HOME": str(home), **env}
    return subprocess.run(
        [sys.executable, "-m", "services.cli", *argv], capture_output=True, text=True, env=full, timeout=30, check=False
    )


def raising(error: BaseException) -> Callable[[], None]:
    def command() -> None:
        raise error

    return command


def test_l1_an_unknown_word_names_the_nearest(tmp_path: Path) -> None:
    """L1: an unknown command or flag ends with 2 and the nearest name."""
    command = program("statsu", home=tmp_path)
    assert (command.returncode, "status" in command.stderr) == (USAGE, True)
    flag = program("status", "--verbos", home=tmp_path)
    assert (flag.returncode, "--verbose" in flag.stderr) == (USAGE, True)


def test_help_names_every_command(tmp_path: Path) -> None:
    """--help lists the commands of this version, each with a sentence."""
    shown = program("--help", home=tmp_path, COLUMNS="20")
    assert shown.returncode == 0
    for command in ("up", "demo", "apply", "get", "status", "explain", "top", "migrate", "keys", "version"):
        assert command in shown.stdout


@pytest.mark.parametrize("command", ["status", "get", "top", "apply -f -", "explain scaling", "keys list"])
def test_e111_without_an_instance(command: str, tmp_path: Path) -> None:
    """Every command that needs a running instance says E111 in three lines and ends with 5."""
    (manifest := tmp_path / "m.yaml").write_bytes(Path("manifests/samples/quickstart.yaml").read_bytes())
    done = program(*command.replace("-f -", f"-f {manifest}").split(), home=tmp_path)
    assert (done.returncode, done.stdout) == (5, "")
    assert [line.split()[0] for line in done.stderr.splitlines()] == ["error", "why", "next"]
    assert "\x1b" not in done.stderr


def test_l3_a_reader_that_goes_away_is_no_traceback(tmp_path: Path) -> None:
    """L3: stdout closed early ends quietly."""
    argv = f"{sys.executable} -m services.cli version -o json"
    done = subprocess.run(
        ["sh", "-c", f"({argv}; echo code $? >&2) | true"],
        capture_output=True,
        text=True,
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path)},
        timeout=30,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_explain_wants_a_path(tmp_path: Path) -> None:
    """`explain GET` alone is wrong usage, with an example."""
    done = program("explain", "GET", home=tmp_path)
    assert (done.returncode, "/api/v1/status" in done.stderr) == (USAGE, True)


@pytest.mark.parametrize(
    ("error", "code"),
    [(CliError("", "x"), FAILED), (KeyboardInterrupt(), INTERRUPTED), (typer.Exit(6), 6), (typer.Abort(), INTERRUPTED)],
)
def test_every_way_out_has_its_code(error: BaseException, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit codes follow platform.md §3."""
    assert guarded(raising(error)) == code
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["statsu"], ["error  No such command 'statsu'. Did you mean 'status'?", "  next scalable-api --help"]),
        (["scale"], ["error  Missing argument 'component'", "  next scalable-api scale --help"]),
        (["get", "-o", "xml"], ["next scalable-api get --help"]),
        (["tiers", "-n", "x", "history"], ["error  flags stand after history", "  next … history -n NAMESPACE"]),
        (["top", "-o", "name"], ["error  -o name of top"]),
    ],
)
def test_wrong_words_are_told_in_the_same_lines(words: list[str], said: list[str], tmp_path: Path) -> None:
    """What is wrong and where to look, as every other error; exit 2, no Python words."""
    done = program(*words, home=tmp_path)
    assert (done.returncode, done.stdout) == (USAGE, "")
    for line in said:
        assert line in done.stderr
    assert "Value error" not in done.stderr
