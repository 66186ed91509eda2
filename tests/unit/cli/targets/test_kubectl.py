"""kubectl's words become our three lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.cli.errors import FAILED, NOT_FOUND, REFUSED, UNREACHABLE, CliError
from services.cli.targets import kubectl
from services.cli.targets.kubectl import Where, documents, fault


@pytest.mark.parametrize(
    ("said", "code", "exit_code"),
    [
        ('Error from server (NotFound): scalableapis.scalableapi.io "x" not found', "", NOT_FOUND),
        ('error: the server doesn\'t have a resource type "scalableapis"', "E114", NOT_FOUND),
        ('error: resource mapping not found: no matches for kind "ScalableApi"', "E114", NOT_FOUND),
        ('Error from server (Forbidden): User "x" cannot list resource', "E115", REFUSED),
        ("error: Apply failed with 1 conflict: conflict with ...", "", REFUSED),
        ('The ScalableApi "x" is invalid: spec', "", REFUSED),
        ("The connection to the server 127.0.0.1:1 was refused - did you specify", "E113", UNREACHABLE),
        ("error: You must be logged in to the server (Unauthorized)", "E113", UNREACHABLE),
        ('error: context "nope" does not exist', "E113", UNREACHABLE),
        ("The request is invalid: the server rejected our request due to an error in our request", "", REFUSED),
        ("something new", "", FAILED),
    ],
)
def test_its_words_have_codes(said: str, code: str, exit_code: int) -> None:
    """Not found 3, refused 4, unreachable 5; what is unknown is told as it was said, with 1."""
    error = fault(said)
    assert (error.code, error.exit_code, error.why) == (code, exit_code, said)


def test_what_it_says_reaches_no_terminal() -> None:
    """Control characters of a server are shown, not obeyed."""
    assert "\x1b" not in fault("bad \x1b[2J").why


def test_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """E112 for a question and for a watch."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CliError, match="cannot be run") as failed:
        kubectl.ask(Where(), "get", "x")
    assert (failed.value.code, failed.value.exit_code) == ("E112", UNREACHABLE)
    with pytest.raises(CliError, match="cannot be run"):
        list(kubectl.stream(Where(), "get", "x", within_s=None))


def test_flags() -> None:
    """Only what was named is passed on: the rest is kubectl's to find."""
    assert Where().flags() == []
    assert Where("c", "k", "n", "u").flags() == ["--context=c", "--kubeconfig=k", "--namespace=n", "--as=u"]


def test_a_watch_is_cut_into_documents() -> None:
    """Each ends with a brace in the first column; nested ones don't."""
    raw = (b"{\n", b'  "a": {\n', b"  }\n", b"}\n", b"{\n", b"}\n")
    assert list(documents(raw)) == [b'{\n  "a": {\n  }\n}\n', b"{\n}\n"]


def test_its_log_is_left_out() -> None:
    """Of a server that is away it logs each attempt; the sentence at the end counts. Only log: the last line of it."""
    line = 'E1124 19:17:27.993472   31794 memcache.go:265] "Unhandled Error" err="connection refused"'
    end = "The connection to the server localhost:8080 was refused - did you specify the right host or port?"
    assert fault(f"{line}\n{line}\n{end}\n").why == end
    assert fault(line).why == line


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ('error: context "nope" does not exist', "kubectl config get-contexts"),
        ("The connection to the server localhost:8080 was refused", "--kubeconfig"),
        ("error: You must be logged in to the server (Unauthorized)", "log in"),
        ("Unable to connect to the server: dial tcp 10.0.0.1:443: i/o timeout", "kubectl cluster-info"),
    ],
)
def test_what_to_do_about_it(said: str, told: str) -> None:
    """Each way of not reaching a server has its own next step."""
    assert told in fault(said).next_step
