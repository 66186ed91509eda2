"""A request head into an exchange: what is looked at once per request, and what only the odd request needs (data-path
3.1, 3.3).

llhttp has read the same bytes a moment ago and accepted them: every line ends with CRLF and begins with a token and a
colon, no line is folded, no control byte is in it. So the lines can be taken apart here, without a callback per field.
`read_head` is the hot path; `_look_closer` runs when a name came that the engine itself acts on (`heads.RARE`). What is
wrong becomes `x.fault`, never an exception: it is answered in its turn.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from services.core.verdicts import Answer, Refusal
from services.http1 import faults, heads
from services.http1.exchange import CHUNKED, LENGTH, Exchange
from services.http1.framing import content_length, request_coding
from services.http1.target import find_odd, is_authority, normalise

if TYPE_CHECKING:
    from services.http1.intake import Intake

HTTP11: Final = b"HTTP/1.1\r\n"
V11: Final = b"1.1"
V10: Final = b"1.0"
HOSTS_MAX: Final = 1024
NO_HOST: Final = b"localhost"  # what an HTTP/1.0 request without Host is forwarded with
# llhttp speaks RTSP and ICE as well; these are theirs, and PRI is HTTP/2's. CONNECT asks for a tunnel, whatever its target.
FOREIGN: Final = frozenset(
    b"ANNOUNCE CONNECT DESCRIBE FLUSH GET_PARAMETER PAUSE PLAY PRI RECORD REDIRECT SETUP SET_PARAMETER SOURCE TEARDOWN".split()
)
VERSION_NUMBERS: Final = frozenset({b"HTTP/2.0\r\n", b"HTTP/1.2\r\n"})
CONNECTION_KNOWN: Final = frozenset({b"", b"close", b"keep-alive", b"upgrade"})


def read_head(c: Intake, raw: bytes, parser: Any) -> Exchange:
    """The exchange of a whole head: request line, fields, blank line."""
    server = c.server
    lines = raw.splitlines(True)  # noqa: FBT003  # keepends
    method, _, rest = lines[0].partition(b" ")
    target, _, version = rest.partition(b" ")
    if version != HTTP11:
        lines, method, target, version = _odd_start(raw)
    x = Exchange(c, server.pipeline, target, server.body_max)  # type: ignore[arg-type]
    x.method = method
    x.keep_alive = parser.should_keep_alive()
    x.started = x.now = now = monotonic()
    x.deadline = now + server.total_s
    marks = heads.sort_fields(server.names, lines, x.fields, x.special)
    if version != HTTP11:
        _version(x, version)
    if target not in server.targets:
        _new_target(server.targets, x, target, strict=server.strict_targets)
    if not x.host:
        host = x.special.get(b"host", b"")
        if host in server.hosts:
            x.host = host
        else:
            _new_host(server.hosts, x, host)
    if marks & heads.LOOK_CLOSER:
        _look_closer(c, x, marks)
    if len(lines) > server.lines_max:
        fault(x, faults.TOO_MANY_FIELDS)
    if method in FOREIGN:
        fault(x, faults.METHOD_UNKNOWN)
    if x.fault is not None:
        _faulty(c, x)
    return x


def fault(x: Exchange, found: Refusal | Answer) -> None:
    """The first thing that is wrong is what the client is told; what is answered from here must be well-formed too."""
    if x.fault is None or isinstance(x.fault, Answer):
        x.fault = found


def _odd_start(raw: bytes) -> tuple[list[bytes], bytes, bytes, bytes]:
    """Line ends in front of the request line, several spaces in it, another version, or none (HTTP/0.9)."""
    lines = raw.lstrip(b"\r\n").splitlines(True)  # noqa: FBT003
    words = [*lines[0].split(), b"", b""]
    return lines, words[0], words[1], words[2] + b"\r\n"


def _faulty(c: Intake, x: Exchange) -> None:
    """Count it; nothing behind a malformed message is parsed."""
    if isinstance(x.fault, Refusal):
        c.server.count_bad(x.fault.reason)
        if x.fault.close:
            x.keep_alive = False
            c.last = True


def _version(x: Exchange, version: bytes) -> None:
    if version == b"HTTP/1.0\r\n":
        x.version = V10
    else:
        fault(x, faults.VERSION_UNKNOWN if version in VERSION_NUMBERS else faults.VERSION_MALFORMED)


def _odd_target(strict: bool, x: Exchange, target: bytes) -> None:
    """Anything but a plain origin-form."""
    if x.method == b"CONNECT":
        fault(x, faults.METHOD_UNKNOWN)
    elif target == b"*":
        fault(x, faults.OPTIONS_STAR if x.method == b"OPTIONS" else faults.STAR_WITHOUT_OPTIONS)
        return
    found = normalise(target)
    if isinstance(found, str):
        fault(x, faults.bad(found, "The request target is malformed."))
        return
    if strict and found.path + found.query != target:
        fault(x, faults.bad("target-not-normal", "The request target is not in its normal form."))
    x.path, x.query = found.path, found.query
    if found.authority:
        x.host = found.authority
        if is_bad_host(x):
            fault(x, faults.HOST_MALFORMED)


def is_bad_host(x: Exchange) -> bool:
    """The field beside an absolute-form: it is not used, but it must be there and well-formed (RFC 9112 3.2)."""
    host = x.special.get(b"host")
    return x.version == V11 if host is None else not is_authority(host)


def _new_target(known: set[bytes], x: Exchange, target: bytes, *, strict: bool) -> None:
    """Not seen before, or with a query. A plain path needs no look the next time."""
    if find_odd(target) is not None or not target.startswith(b"/"):
        _odd_target(strict, x, target)
        return
    x.path, mark, query = target.partition(b"?")
    if mark:
        x.query = mark + query
    elif len(target) <= heads.LINE_MAX:
        if len(known) >= heads.LINES_MAX:
            known.clear()
        known.add(target)


def _new_host(known: set[bytes], x: Exchange, host: bytes) -> None:
    """A Host that was not seen before, or none."""
    if is_authority(host):
        if len(known) < HOSTS_MAX and len(host) <= 255:
            known.add(host)
        x.host = host
    elif x.version == V10 and b"host" not in x.special:
        x.host = NO_HOST
    else:
        fault(x, faults.HOST_MALFORMED)


def _look_closer(c: Intake, x: Exchange, marks: int) -> None:
    """Names that change how the message is read or answered."""
    found = x.special
    if marks & heads.UNDERSCORE > heads.TAKEN:
        fault(x, faults.UNDERSCORE)
    if marks & heads.REPEATED_ONCE:
        fault(x, faults.REPEATED)
    coding, length = found.get(b"transfer-encoding"), found.get(b"content-length")
    if coding is not None:
        _coded(x, coding)
    elif length is not None:
        _measured(x, length)
    if not x.body_done:
        c.body_begins(x)
        c.upgraded = b"upgrade" in found and x.method != b"CONNECT" and c.parser.should_upgrade()
    connection = found.get(b"connection")
    if connection is not None and connection not in CONNECTION_KNOWN:
        _connection_names(x, connection)
    if b"expect" in found:
        _expects(x)
    via = found.get(b"via")
    if via is not None and via.count(c.server.name) > 2 and _passed(via, c.server.name) > 2:
        fault(x, faults.LOOP)


def _coded(x: Exchange, coding: bytes) -> None:
    slug = request_coding(coding, http10=x.version == V10)
    if slug:
        fault(x, faults.CODING_MALFORMED if slug == "bad-request" else faults.CODING_UNKNOWN)
        return
    x.framing = CHUNKED
    x.body_done = False


def _measured(x: Exchange, value: bytes) -> None:
    length = content_length(value)
    x.framing = LENGTH
    x.length = length
    x.body_done = length == 0
    if length < 0:
        fault(x, faults.LENGTH_MALFORMED)
    elif length > x.body_max:
        fault(x, faults.BODY_TOO_LARGE)


def _expects(x: Exchange) -> None:
    """Left in `special` only while the client waits for 100 (RFC 9110 10.1.1)."""
    if x.special[b"expect"].lower() != b"100-continue":
        fault(x, faults.EXPECTATION)
    elif x.version == V10 or x.body_done:
        del x.special[b"expect"]


def _connection_names(x: Exchange, value: bytes) -> None:
    """Fields meant for us only go, unless the next hop relies on them (data-path 3.3)."""
    for part in value.lower().split(b","):
        name = part.strip(b" \t")
        if name in heads.FRAMING:
            fault(x, faults.CONNECTION_NAMES_FRAMING)
        elif name not in CONNECTION_KNOWN and name not in heads.PROTECTED:
            x.special.pop(name, None)
            start = name + b":"
            x.fields = [line for line in x.fields if not line.lower().startswith(start)]


def _passed(via: bytes, name: bytes) -> int:
    """How often a Via list names this process (RFC 9110 7.6.3)."""
    return sum(entry.split()[1:2] == [name] for entry in via.split(b","))
