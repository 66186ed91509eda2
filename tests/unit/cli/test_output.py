"""What is printed: harmless, plain without a terminal, whole in a pipe."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from services.cli import output
from services.cli.output import Format, clean, humane_age, humane_bytes, paint, table


def test_l3_escape_sequences_of_a_server_are_shown_not_obeyed() -> None:
    """L3: control characters and direction marks in server data become text."""
    assert clean("a\x1b[31mred\x07\u202eevil\n") == "a\\x1b[31mred\\x07\\u202eevil\\x0a"
    assert table(["N"], [["\x1b[2J"]]) == ["N", "\\x1b[2J"]


def test_l3_no_colour_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """L3: no escape code when stdout is no terminal, nor with NO_COLOR on one."""
    assert paint("x", output.ANSI_RED) == "x"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert paint("x", output.ANSI_RED) == "\x1b[31mx\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert paint("x", output.ANSI_RED) == "x"


def test_columns_align() -> None:
    """Each column is as wide as its widest cell, and no line ends in blanks."""
    assert table(["A", "LONG"], [["wide cell", 1], ["x", ""]]) == ["A          LONG", "wide cell  1", "x"]


def test_envelope(capsys: pytest.CaptureFixture[str]) -> None:
    """JSON and YAML carry kind, version, asOf and data."""
    output.emit(Format.json, "StatusReport", {"a": 1})
    found = json.loads(capsys.readouterr().out)
    assert (found["kind"], found["version"], found["data"]) == ("StatusReport", 1, {"a": 1})
    assert found["asOf"].endswith("Z")
    output.emit(Format.yaml, "StatusReport", {"a": 1})
    assert yaml.safe_load(capsys.readouterr().out)["data"] == {"a": 1}


def test_data_and_talk_are_apart(capsys: pytest.CaptureFixture[str]) -> None:
    """Data goes to stdout, the rest to stderr."""
    output.say("data")
    output.tell("talk")
    assert capsys.readouterr() == ("data\n", "talk\n")


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (2048, "2 KiB"), (3 << 20, "3 MiB"), (5 << 30, "5.0 GiB")])
def test_humane_bytes(count: int, text: str) -> None:
    """Tables show sizes for people."""
    assert humane_bytes(count) == text


@pytest.mark.parametrize(("seconds", "text"), [(-1, "0s"), (59, "59s"), (61, "1m"), (7200, "2h"), (200_000, "2d")])
def test_humane_age(seconds: float, text: str) -> None:
    """Ages have one unit, as kubectl's."""
    assert humane_age(seconds) == text


def test_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    """An age and a time of day for people; what is no moment is a dash."""
    monkeypatch.setattr("time.time", lambda: 1_795_514_462.0)
    assert output.since("2026-11-24T10:00:02Z") == "1m"
    assert re.fullmatch(r"\d\d:\d\d:02", output.clock("2026-11-24T10:00:02Z"))
    assert (
        [output.since(text) for text in (None, "", "soon")]
        == ["-"] * 3
        == [output.clock(text) for text in (None, "", "x")]
    )
