"""Running `kubectl`: its kubeconfig rules, exec plugins and proxies stay its own, so nothing of them is written here
again. Its refusals become three lines, told apart by the words it has used for years. Caller: cluster.py.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from services.cli.errors import NOT_FOUND, REFUSED, CliError
from services.cli.output import clean

KIND: Final = "scalableapis.scalableapi.io"
_NO_KIND: Final = re.compile(r"doesn't have a resource type|no matches for kind|could not find the requested resource")
POD_WITHIN: Final = "10s"
"""For `forwarded`: a Deployment without a running pod is told, not waited for."""
_FORWARDING: Final = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+) ->")
_MOVED: Final = "the server rejected our request due to an error in our request"
_REFUSED: Final = re.compile(r"\((Conflict|Invalid|BadRequest)\)|is invalid:|[Cc]onflict|denied the request")
_UNREACHABLE: Final = re.compile(
    r"[Uu]nable to connect|connection to the server|dial tcp|i/o timeout|refused|no such host|x509|EOF"
    r"|no configuration has been provided|context .* does not exist|Error in configuration|must be logged in|\(Unauthorized\)"
    r"|getting credentials|error loading config|stat .*no such file|Timeout exceeded|\(ServiceUnavailable\)"
)


class MovedError(CliError):
    """A JSON patch's own test failed: what it was made of has changed meanwhile. The API server says no more than this."""


_LOGGED: Final = re.compile(r"[EWIF]\d{4} \d\d:\d\d:\d\d\.")
_NEXT: Final = (
    (r"context .* does not exist", "kubectl config get-contexts"),
    (r"localhost:8080|no configuration|stat .*no such file", "name a kubeconfig: --kubeconfig FILE, or KUBECONFIG"),
    (r"must be logged in|Unauthorized|getting credentials", "log in again; kubectl auth whoami"),
    (r"", "kubectl cluster-info"),
)
"""Of the unreachable: words it says, and what to do; the first that fits."""


@dataclass(frozen=True, slots=True)
class Where:
    """Which cluster, namespace and user; None leaves it to kubectl."""

    context: str | None = None
    kubeconfig: str | None = None
    namespace: str | None = None
    as_user: str | None = None

    def flags(self) -> list[str]:
        named = {
            "context": self.context,
            "kubeconfig": self.kubeconfig,
            "namespace": self.namespace,
            "as": self.as_user,
        }
        return [f"--{flag}={value}" for flag, value in named.items() if value is not None]


def ask(where: Where, *words: str, stdin: bytes | None = None) -> bytes:
    """What it printed."""
    try:
        done = subprocess.run(_line(where, words), input=stdin, capture_output=True, check=False)
    except OSError as error:
        raise _missing(error) from None
    if done.returncode:
        raise fault(done.stderr.decode(errors="replace"))
    return done.stdout


def stream(where: Where, *words: str, within_s: float | None) -> Iterator[bytes]:
    """Each JSON document of a `--watch`, until it ends or the time is up; the process ends with the reader."""
    try:
        process = subprocess.Popen(_line(where, words), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except OSError as error:
        raise _missing(error) from None
    timer = threading.Timer(within_s, process.kill) if within_s is not None else None
    with process:
        try:
            if timer:
                timer.start()
            yield from documents(process.stdout or ())
            if process.wait() > 0 and process.stderr:  # below 0: the timer's
                raise fault(process.stderr.read().decode(errors="replace"))
        finally:
            if timer:
                timer.cancel()
            process.kill()


@contextlib.contextmanager
def forwarded(where: Where, subject: str, port: str) -> Iterator[str]:
    """`http://127.0.0.1:N`, which is `port` of one pod of `subject`, until the block ends."""
    words = ("port-forward", "--address=127.0.0.1", f"--pod-running-timeout={POD_WITHIN}", subject, f":{port}")
    try:
        process = subprocess.Popen(_line(where, words), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except OSError as error:
        raise _missing(error) from None
    with process:
        try:
            said = process.stdout.readline().decode() if process.stdout else ""
            found = _FORWARDING.match(said)
            if found is None:
                process.kill()
                raise fault(process.stderr.read().decode(errors="replace") if process.stderr else said)
            yield f"http://127.0.0.1:{found[1]}"
        finally:
            process.kill()


def documents(lines: Iterator[bytes] | tuple[bytes, ...]) -> Iterator[bytes]:
    """A watch prints one indented document after the other: each ends with a brace at the line's beginning."""
    kept: list[bytes] = []
    for line in lines:
        kept.append(line)
        if line.rstrip() == b"}":
            yield b"".join(kept)
            kept = []


def _line(where: Where, words: tuple[str, ...]) -> list[str]:
    return ["kubectl", *where.flags(), *words]


def _missing(error: OSError) -> CliError:
    return CliError("E112", "kubectl cannot be run", error.strerror or str(error), "install kubectl, or put it in PATH")


def fault(said: str) -> CliError:
    """What it wrote on stderr becomes the reason, without its log of every attempt."""
    told = [clean(line) for line in said.strip().splitlines()]
    why = "\n".join([line for line in told if not _LOGGED.match(line)] or told[-1:]) or "it said nothing"
    if _NO_KIND.search(said):
        return CliError("E114", "the cluster does not know ScalableApis", why, "install the CRD: manifests/crds")
    if "(NotFound)" in said:
        return CliError("", "not found in the cluster", why, "scalable-api get", NOT_FOUND)
    if "(Forbidden)" in said:
        return CliError("E115", "the cluster forbids it", why, "kubectl auth can-i --list")
    if _MOVED in said:
        next_step = "run it again; if it stays so, somebody edits it all the time"
        return MovedError("", "the object was changed meanwhile", why, next_step, REFUSED)
    if _REFUSED.search(said):
        return CliError("", "the API server refuses it", why, exit_code=REFUSED)
    if _UNREACHABLE.search(said):
        next_step = next(fix for words, fix in _NEXT if re.search(words, said))
        return CliError("E113", "the API server cannot be reached", why, next_step)
    return CliError("", "kubectl failed", why)
