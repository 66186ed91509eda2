"""A parsed request head into an exchange: what is checked once per request, and what only the odd request needs (data-
path 3.1, 3.3).

`head_whole` is the hot path: version, target, host, deadline. `_look_closer` runs when a name came that the engine
itself acts on (`heads.RARE`). What is wrong becomes `x.fault`, never an exception: the parser goes on, because the
fault is answered in its turn; only what stops the reading (a body of unknown length behind a bad head) also closes.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from services.core.verdicts import Answer, Refusal
from services.http1 import faults, heads
from services.http1.exchange import CHUNKED, LENGTH, Exchange
from services.http1.framing import content_length, request_coding
from services.http1.heads import CRLF
from services.http1.target import find_odd, is_authority, normalise

if TYPE_CHECKING:
    from services.http1.heads import Entry
    from services.http1.intake import Intake

V11: Final = b"1.1"
V10: Final = b"1.0"
HOSTS_MAX: Final = 1024
NO_HOST: Final = b"localhost"  # what an HTTP/1.0 request without Host is forwarded with
# llhttp speaks RTSP and ICE as well; these are theirs, and PRI is HTTP/2's.
FOREIGN: Final = frozenset(
    b"ANNOUNCE DESCRIBE FLUSH GET_PARAMETER PAUSE PLAY PRI RECORD REDIRECT SETUP SET_PARAMETER SOURCE TEARDOWN".split()
)
BLANK: Final = b" \t"
BLANKS: Final = frozenset({b" ", b"\t"})
CONNECTION_KNOWN: Final = frozenset({b"", b"close", b"keep-alive", b"upgrade"})


def head_whole(c: Intake, x: Exchange, parser: Any, data: bytes | None) -> None:
    """Fill x from llhttp and check it. `data`: the read the request line stood in, if x is the first in it."""
    server = c.server
    x.method = method = parser.get_method()
    x.keep_alive = parser.should_keep_alive()
    x.started = now = monotonic()
    x.deadline = now + server.total_s
    target = x.path
    if data is None or not data.startswith(b" HTTP/1.1", len(method) + 1 + len(target)):
        _version(x, parser.get_http_version())
    if find_odd(target) is None and target[0] == 47:
        if b"?" in target:
            x.path, mark, query = target.partition(b"?")
            x.query = mark + query
    else:
        _odd_target(server.strict_targets, x, target)
    if not x.host:
        host = x.special.get(b"host", b"")
        if host in server.hosts:
            x.host = host
        else:
            _new_host(server.hosts, x, host)
    if x.marks & heads.LOOK_CLOSER:
        _look_closer(c, x)
    c.head_bytes = 0
    if data is None or len(x.fields) > 50 or x.marks >= heads.ONE_MORE:
        _size(c, x, len(target))
    if method in FOREIGN:
        fault(x, faults.METHOD_UNKNOWN)
    if x.fault is not None:
        _faulty(c, x)


def fault(x: Exchange, found: Refusal | Answer) -> None:
    """The first thing that is wrong is what the client is told."""
    if x.fault is None:
        x.fault = found


def special(x: Exchange, entry: Entry, value: bytes) -> None:
    """A field with a special name, or one whose spelling is new; repeats are joined, as they may be (RFC 9110 5.3)."""
    kind, lower, start = entry
    if kind & heads.TAKEN == 0:
        x.fields.append(start + value + CRLF)
        if kind == heads.PASS:
            return
    found = x.special
    if lower in found:
        value = found[lower] + b", " + value
        kind |= heads.REPEATED_ONCE if kind & heads.ONCE else 0
        x.marks += heads.ONE_MORE
    found[lower] = value.strip(BLANK) if value[-1:] in BLANKS else value
    x.marks |= kind


def _faulty(c: Intake, x: Exchange) -> None:
    """Count it; nothing behind a malformed message is parsed."""
    if isinstance(x.fault, Refusal):
        c.server.count_bad(x.fault.reason)
        if x.fault.close:
            x.keep_alive = False
            c.last = True


def _version(x: Exchange, version: str) -> None:
    if version == "1.0":
        x.version = V10
    elif version != "1.1":
        fault(x, faults.VERSION_MALFORMED if version == "0.9" else faults.VERSION_UNKNOWN)


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


def _look_closer(c: Intake, x: Exchange) -> None:
    """Names that change how the message is read or answered."""
    found = x.special
    if x.marks & heads.REPEATED_ONCE:
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


def _size(c: Intake, x: Exchange, target_size: int) -> None:
    """A head that did not come in one short read, or has many fields: its exact size."""
    limits = c.server.limits
    kinds = c.server.names.kinds
    seen = sum(1 for name in x.special if kinds.get(name, 0) & heads.SEEN)
    count = len(x.fields) + len(x.special) - seen + (x.marks >> heads.COUNT_SHIFT)
    size = sum(map(len, x.fields)) + sum(len(name) + len(value) + 4 for name, value in x.special.items())
    if len(x.method) + target_size + 12 > limits.request_line_max:
        fault(x, faults.LINE_TOO_LONG)
    elif count > limits.fields_max:
        fault(x, faults.TOO_MANY_FIELDS)
    elif size + target_size + len(x.method) + 14 > limits.head_max:
        fault(x, faults.HEAD_TOO_LARGE)
