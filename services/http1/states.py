"""The two state tables of data-path 2, as data: which move an event may make. An empty cell is our bug.

The connections assign their state directly, because a look-up per message would cost more than it finds; tests walk
every move they make through `check_client` and `check_upstream` (tests/unit/http1/traced.py), and a table that misses
one fails there.
"""

from __future__ import annotations

from typing import Final

# of a client connection; bad input becomes an exchange with a fault, which closes when it is answered
IDLE: Final = 0
HEAD: Final = 1
ACTIVE: Final = 2
ANSWERED: Final = 3  # the answer is out, the request is not all in
CLOSING: Final = 4
CLOSED: Final = 5
TUNNEL: Final = 6  # no HTTP any more (tunnel.py)

CLIENT: Final[dict[int, dict[str, int]]] = {
    IDLE: {
        "message begins": HEAD,
        "bad input": ACTIVE,
        "turned away": CLOSING,
        "drain": CLOSED,
        "deadline": CLOSED,
        "eof": CLOSED,
        "lost": CLOSED,
    },
    HEAD: {
        "head whole": ACTIVE,
        "bad input": ACTIVE,
        "deadline": CLOSING,
        "drain": CLOSED,
        "eof": CLOSED,
        "lost": CLOSED,
    },
    ACTIVE: {
        "next queued": ACTIVE,
        "answer done, one has begun": HEAD,
        "answer done": IDLE,
        "body missing": ANSWERED,
        "close wanted": CLOSING,
        "upgraded": TUNNEL,
        "eof": CLOSED,
        "lost": CLOSED,
    },
    ANSWERED: {
        "request whole": IDLE,
        "too long": CLOSING,
        "drain": CLOSING,
        "eof": CLOSED,
        "lost": CLOSED,
    },
    CLOSING: {"eof": CLOSED, "deadline": CLOSED, "lost": CLOSED},
    CLOSED: {},
    TUNNEL: {"drain": CLOSED, "lost": CLOSED},
}

# of an upstream connection
CONNECTING: Final = 0
FREE: Final = 1  # idle in its pool
SENT: Final = 2  # no head yet
BODY: Final = 3
GONE: Final = 4

UPSTREAM: Final[dict[int, dict[str, int]]] = {
    CONNECTING: {"connected": FREE, "oldest waiter": SENT, "lost": GONE},
    FREE: {"start": SENT, "unasked bytes": GONE, "deadline": GONE, "lost": GONE},
    SENT: {
        "final head": BODY,
        "answer without body": FREE,
        "upgraded": GONE,
        "client gone": GONE,
        "deadline": GONE,
        "invalid": GONE,
        "lost": GONE,
    },
    BODY: {"message end": FREE, "not reusable": GONE, "client gone": GONE, "deadline": GONE, "lost": GONE},
    GONE: {},
}


def check_client(before: int, after: int) -> bool:
    """Whether some event leads from one state to the other."""
    return after == before or after in CLIENT[before].values()


def check_upstream(before: int, after: int) -> bool:
    return after == before or after in UPSTREAM[before].values()
