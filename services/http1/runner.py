"""The only loop over the stages, and the only place where an exchange is resumed, failed and finished.

A stage that parks keeps the ticket that was current when it was called and hands it to `resume`; a stale ticket (the
exchange was answered, cancelled or rewound meanwhile) does nothing. A stage never resumes before it has returned.

The last stage hands the exchange to a next hop (`upstream.NextHop.start`) and returns PARKED. From then on the hop
calls `fail` or `accepts` here; both ask the pipeline's hooks first, so that a stage may try again:

    on_answer(x, head) -> True: the answer goes on
                          False: it is dropped, the hook has rewound x (or resumed it with a refusal)
    on_failure(x, failure) -> a Refusal or Answer to send · None: the engine's own refusal
                              PARKED: the hook has rewound x, or will

In both hooks x is parked under a new ticket and has no upstream. A hook that wants to wait keeps `x.ticket` for
`rewind`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

from services.core.verdicts import PARKED, Outcome, Refusal
from services.http1 import faults
from services.http1.exchange import ANSWERING, DONE, FORWARDED, PARKED_STATE, RUNNING, Exchange
from services.runtime.log import get_log

if TYPE_CHECKING:
    from services.http1.heads import UpstreamHead
    from services.http1.upstream import Failure

Stage = Callable[[Exchange], Outcome]
HeadHook = Callable[[Exchange], None]
FinishHook = Callable[[Exchange], None]
AnswerHook = Callable[[Exchange, "UpstreamHead"], bool]
FailureHook = Callable[[Exchange, "Failure"], Outcome]

log = get_log(__name__)


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A process's path.

    `stages` in path order. `always` are the stages a malformed request passes too, before its refusal (ids, in-flight);
    their outcome is ignored. `on_head` runs once before any response head is written, the upstream's (`x.head`) or
    ours, and adds lines to `x.extra`: list it in reverse path order. `on_finish` runs exactly once however the exchange
    ends.
    """

    stages: tuple[Stage, ...]
    on_head: tuple[HeadHook, ...] = ()
    on_finish: tuple[FinishHook, ...] = ()
    on_answer: AnswerHook | None = None
    on_failure: FailureHook | None = None
    always: tuple[Stage, ...] = ()


def start(x: Exchange) -> None:
    """The server connection's call, once per exchange, when its turn has come."""
    x.state = RUNNING
    if x.fault is None:
        run(x)
        return
    try:
        for stage in x.pipeline.always:
            stage(x)
        x.connection.reply(x, x.fault)
    except Exception:  # noqa: BLE001  # logged there
        broken(x)


def run(x: Exchange) -> None:
    """Walk the stages from `x.at` until one answers, refuses or parks; each walk has a ticket of its own."""
    stages = x.pipeline.stages
    x.ticket += 1
    try:
        out = None
        while out is None and x.state == RUNNING:
            stage = stages[x.at]
            x.at += 1
            out = stage(x)
        if out is PARKED:
            if x.state == RUNNING:
                x.state = PARKED_STATE
        elif out is not None:
            x.connection.reply(x, out)
    except Exception:  # noqa: BLE001  # logged there
        broken(x)


def resume(x: Exchange, ticket: int, out: Outcome = None) -> None:
    """Go on after a park: with the next stage, or with what the callback decided. A stale ticket does nothing."""
    if x.state != PARKED_STATE or ticket != x.ticket or out is PARKED:
        return
    x.state = RUNNING
    x.now = monotonic()
    if out is None:
        run(x)
        return
    try:
        x.connection.reply(x, out)
    except Exception:  # noqa: BLE001  # logged there
        broken(x)


def refuse(x: Exchange, refusal: Refusal) -> None:
    """The engine's own: a deadline, a body that goes wrong while x is under way. Not once the head is written."""
    if x.state >= ANSWERING:
        return
    x.connection.drop_upstream(x)
    x.ticket += 1
    x.state = RUNNING
    x.now = monotonic()
    try:
        x.connection.reply(x, refusal)
    except Exception:  # noqa: BLE001  # logged there
        broken(x)


def rewind(x: Exchange, at: int, ticket: int | None = None) -> bool:
    """Send a parked exchange back to stage `at`; with a ticket, only if it is still the current one.

    False: it did nothing, because the ticket is stale or a part of the body is gone (`x.replayable`).
    """
    if x.state != PARKED_STATE or not x.replayable or (ticket is not None and ticket != x.ticket):
        return False
    x.state = RUNNING
    x.at = at
    x.now = monotonic()
    run(x)
    return True


def accepts(x: Exchange, head: UpstreamHead) -> bool:
    """A next hop has x's final head: does it go on to the client? The hop has let go of x (`x.upstream` is None)."""
    hook = x.pipeline.on_answer
    if hook is None:
        return True
    x.state = PARKED_STATE
    x.ticket += 1
    x.try_deadline = 0.0
    try:
        return hook(x, head)
    except Exception:  # noqa: BLE001  # logged there
        broken(x)
        return False


def fail(x: Exchange, failure: Failure) -> None:
    """A next hop gives x up before any byte of an answer has gone on."""
    if x.state != FORWARDED:
        return
    x.upstream = None
    x.state = PARKED_STATE
    x.ticket += 1
    x.now = monotonic()
    x.try_deadline = 0.0
    ticket = x.ticket
    hook = x.pipeline.on_failure
    try:
        out = None if hook is None else hook(x, failure)
        resume(x, ticket, failure.refusal() if out is None else out)
    except Exception:  # noqa: BLE001  # logged there
        broken(x)


def finish(x: Exchange) -> None:
    """The end of every exchange; whatever it holds is settled here and nowhere else."""
    if x.state == DONE:
        return
    x.state = DONE
    for hook in x.pipeline.on_finish:
        try:
            hook(x)
        except Exception:
            log.exception("finish hook failed", request_id=x.request_id.decode("latin-1"))


def broken(x: Exchange) -> None:
    """Called while an exception of a stage or hook is handled: 500 if no head is out, else the client is cut off."""
    log.exception("request failed", request_id=x.request_id.decode("latin-1"), stage=x.at)  # noqa: LOG004  # it is
    if x.state == DONE:
        return
    if x.state < ANSWERING and x.reason != faults.INTERNAL.reason:
        try:
            x.connection.drop_upstream(x)
            x.extra.clear()
            x.connection.reply(x, faults.INTERNAL)
        except Exception:
            log.exception("refusal failed", request_id=x.request_id.decode("latin-1"))
        else:
            return
    x.connection.cut(x)
