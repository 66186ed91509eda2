"""`check`: how it ends, and what it needs to know."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from services.cli.checks.finding import Finding, Mark
from services.cli.commands import check
from services.cli.errors import DONE, FAILED, UNREACHABLE, USAGE, WAIT_RAN_OUT, CliError
from services.cli.output import Format
from services.cli.targets.kubectl import Where
from tests.unit.cli.test_main import program

GOOD = Finding("Components", "api", Mark.good, "2 of 2 ready")
BAD = Finding("Components", "api", Mark.bad, "0 of 2 ready", "wait")


def well() -> list[Finding]:
    return [GOOD]


def unwell() -> list[Finding]:
    return [BAD]


def test_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    """0, 1 while something is bad, 6 when a wait for its end ran out."""
    assert check.run(Format.table, well, None) == DONE
    assert check.run(Format.json, unwell, None) == FAILED
    assert check.run(Format.table, unwell, 0.0) == WAIT_RAN_OUT
    report = capsys.readouterr().out.partition("all is well\n")[2].partition("}\nComponents")[0]
    assert json.loads(report + "}")["data"]["findings"][0]["mark"] == "bad"


def test_it_waits_until_nothing_is_bad(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What is bad meanwhile is told on stderr once."""
    monkeypatch.setattr(check, "AGAIN_S", 0.0)
    looks = iter([[BAD], [BAD], [GOOD]])

    def better() -> list[Finding]:
        return next(looks)

    assert check.run(Format.table, better, 10) == DONE
    assert capsys.readouterr().err == "  api: 0 of 2 ready\n"


@pytest.mark.parametrize("missing", ["GATEWAY_URL", "FLEET", "CONTROL_TOKEN"])
def test_in_a_pod_it_is_told_where_the_platform_is(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By three settings; the one that is missing or wrong is named, exit 2."""
    given = {"GATEWAY_URL": "http://gateway:8080", "FLEET": "http://api:9180", "CONTROL_TOKEN": "x" * 32}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv(missing)
    with pytest.raises(CliError, match=f"{missing}: is required") as failed:
        check.beside()
    assert failed.value.exit_code == USAGE
    monkeypatch.setenv(missing, "ftp://x" if missing == "GATEWAY_URL" else "x")
    with pytest.raises(CliError, match=missing):
        check.beside()


def test_in_cluster_stands_alone() -> None:
    """It needs no kubectl: a flag for one is a mistake."""
    for where, pre in ((Where(namespace="x"), False), (Where(), True)):
        with pytest.raises(CliError, match="stands alone") as failed:
            check.looking(where, pre=pre, in_cluster=True)
        assert failed.value.exit_code == USAGE


def test_e112_for_a_cluster_without_kubectl(tmp_path: Path) -> None:
    """Before the installation and after it."""
    for words in (["check", "--pre"], ["check", "-n", "x"]):
        done = program(*words, home=tmp_path, PATH=str(tmp_path))
        assert (done.returncode, "E112" in done.stderr) == (UNREACHABLE, True)


def test_e111_without_an_instance(tmp_path: Path) -> None:
    """Without flags it looks at the running instance."""
    done = program("check", home=tmp_path)
    assert (done.returncode, "E111" in done.stderr) == (UNREACHABLE, True)
