"""One request and its answer on their way through a process: the object every stage is called with.

One object per request, never reused: a late callback must not find somebody else's request in it. The server connection
fills the request part before the first stage runs; stages and hooks fill theirs; `upstream` holds whatever carries the
request to the next hop (an opaque handle: today a pooled HTTP/1.1 connection).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from services.core.verdicts import Answer, Refusal
    from services.http1.heads import UpstreamHead
    from services.http1.runner import Pipeline
    from services.http1.server import ServerConnection
    from services.http1.spans import Mark
    from services.http1.upstream import Carrier

# Exchange.state
NEW: Final = 0
RUNNING: Final = 1
PARKED_STATE: Final = 2
FORWARDED: Final = 3  # a next hop has it
ANSWERING: Final = 4  # the response head is written
DONE: Final = 5

# Exchange.framing and .answer_framing: how a body is delimited
NO_BODY: Final = 0
LENGTH: Final = 1
CHUNKED: Final = 2
UNTIL_CLOSE: Final = 3  # answers only


class Exchange:
    """`marks` is set on sampled exchanges alone (spans.py): an attribute less for all others."""

    marks: tuple[Mark, ...]
    __slots__ = (
        "answer_framing",
        "at",
        "body",
        "body_done",
        "body_max",
        "bytes_in",
        "bytes_out",
        "class_slow",
        "client",
        "close",
        "connection",
        "cost",
        "criticality",
        "deadline",
        "endpoint",
        "excluded",
        "extra",
        "fault",
        "fields",
        "framing",
        "handed",
        "head",
        "host",
        "identity",
        "keep_alive",
        "length",
        "limit",
        "marks",
        "method",
        "now",
        "path",
        "pipeline",
        "query",
        "reason",
        "replayable",
        "request_id",
        "route",
        "sampled",
        "scratch",
        "span_id",
        "special",
        "started",
        "state",
        "status",
        "ticket",
        "trace_id",
        "tries",
        "try_deadline",
        "upstream",
        "upstream_s",
        "version",
    )

    def __init__(self, connection: ServerConnection, pipeline: Pipeline, target: bytes, body_max: int) -> None:
        # the request, set by the server connection
        self.connection = connection
        self.pipeline = pipeline
        self.method = b""
        self.path = (
            target  # normalised (target.py) once the head is whole; what is routed, limited, logged and forwarded
        )
        self.query = b""  # with its leading "?", or empty; passes untouched
        self.host = b""
        self.version = b"1.1"
        self.fields: list[bytes] = []  # complete lines b"Name: value\r\n" of fields that pass untouched, in order
        self.special: dict[
            bytes, bytes
        ] = {}  # lower-case name -> value of the special names (heads.py); repeats joined ", "
        self.framing = NO_BODY
        self.length = -1  # declared Content-Length, or -1
        self.body: list[bytes] = []  # what has come; kept for a replay while it is small (see `replayable`)
        self.body_done = True
        self.body_max = body_max  # a stage may lower it: more is 413
        self.replayable = True  # False once a part of the body is gone: it cannot be sent a second time
        self.keep_alive = True
        self.fault: Refusal | Answer | None = (
            None  # found by the engine before the first stage: malformed, or answered here
        )
        # the runner's
        self.state = NEW
        self.at = 0
        self.ticket = 0
        self.started = 0.0  # loop time (time.monotonic) at which the head was whole
        self.now = 0.0  # loop time of the event that is being handled: read once there, used by all it calls
        self.deadline = 0.0  # loop time; set by the engine to started + total_s, a stage may shorten it; 0 = none
        self.try_deadline = (
            0.0  # loop time; 0 = none. Set by whoever forwards: past it, `on_failure` with kind try_timeout
        )
        # the stages'
        self.request_id = b""
        self.trace_id = b""
        self.span_id = b""
        self.sampled = False
        self.client: Any = None  # the app's record of the client behind trusted proxies
        self.route: Any = None  # the app's route record
        self.criticality = 0
        self.class_slow = False
        self.cost = 1
        self.identity: Any = None
        self.limit: Any = None
        self.endpoint: Any = None
        self.upstream: Carrier | None = None  # who carries it now
        self.tries = 0
        self.excluded: tuple[Any, ...] = ()
        self.scratch: Any = None  # a stage's own state across a park
        # the answer
        self.head: UpstreamHead | None = None  # the upstream's final head; None for an answer of this process
        self.extra: list[bytes] = []  # response lines added by on_head
        self.answer_framing = NO_BODY
        self.status = 0
        self.reason = ""  # a refusal's reason; "client-gone", "cut" for what ended without an answer
        self.bytes_in = 0  # body bytes
        self.bytes_out = 0  # head and body bytes
        self.handed = 0.0  # loop time at which the next hop took it
        self.upstream_s = 0.0  # seconds from handing over to the answer's head
        self.close = False  # Connection: close on the answer
