"""One request and its answer on their way through a process: the object every stage is called with.

One object per request, never reused: a late callback must not find somebody else's request in it. The server connection fills the
request part before the first stage runs; stages and hooks fill theirs; `upstream` holds whatever carries the request to the next hop
(an opaque handle: today a pooled HTTP/1.1 connection).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from services.http1.runner import Pipeline
    from services.http1.server import ServerConnection

# Exchange.state
NEW: Final = 0
RUNNING: Final = 1
PARKED_STATE: Final = 2
FORWARDED: Final = 3  # an upstream has it
ANSWERING: Final = 4  # the response head is written
DONE: Final = 5

# Exchange.framing: how the request body is delimited
NO_BODY: Final = 0
LENGTH: Final = 1
CHUNKED: Final = 2


class Exchange:
    __slots__ = (
        "answer_body",
        "at",
        "body",
        "body_done",
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
        "fields",
        "framing",
        "host",
        "identity",
        "keep_alive",
        "length",
        "limit",
        "method",
        "path",
        "pipeline",
        "query",
        "reason",
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
        "upstream",
        "upstream_s",
        "version",
    )

    def __init__(self, connection: ServerConnection, pipeline: Pipeline, method: bytes, started: float) -> None:
        # the request, set by the server connection
        self.connection = connection
        self.pipeline = pipeline
        self.method = method
        self.path = b""  # normalised (target.py); what is routed, limited, logged and forwarded
        self.query = b""  # with its leading "?", or empty; passes untouched
        self.host = b""
        self.version = b"1.1"
        self.fields: list[bytes] = []  # complete lines b"Name: value\r\n" of fields that pass untouched, in order
        self.special: dict[bytes, bytes] = {}  # lower-case name -> value of the special names (data-path 3.3); repeats joined ", "
        self.framing = NO_BODY
        self.length = -1  # declared Content-Length, or -1
        self.body: list[bytes] = []  # bytes that came before an upstream took the request
        self.body_done = True
        self.keep_alive = True
        # the runner's
        self.state = NEW
        self.at = 0
        self.ticket = 0
        self.started = started  # loop time at which the head was whole
        self.deadline = 0.0  # loop time; 0 = none
        # the stages'
        self.request_id = b""
        self.trace_id = b""
        self.span_id = b""
        self.sampled = False
        self.client = ""  # client address behind trusted proxies
        self.route: Any = None  # the app's route record
        self.criticality = 0
        self.class_slow = False
        self.cost = 1
        self.identity: Any = None
        self.limit: Any = None
        self.endpoint: Any = None
        self.upstream: Any = None
        self.tries = 0
        self.excluded: tuple[Any, ...] = ()
        self.scratch: Any = None  # a stage's own state across a park
        # the hooks'
        self.extra: list[bytes] = []  # response lines added by on_head
        self.answer_body = False
        self.status = 0
        self.reason = ""
        self.bytes_in = 0
        self.bytes_out = 0
        self.upstream_s = 0.0  # seconds from handing over to the answer's head
        self.close = False  # Connection: close on the answer
