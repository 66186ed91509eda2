"""The walk over the stages: every exchange ends once, whatever stages and hooks do."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from services.core.verdicts import PARKED, Answer, Outcome, Refusal
from services.http1 import runner
from services.http1.exchange import DONE, PARKED_STATE, Exchange
from tests.unit.http1.rig import OK, Rig
from tests.unit.http1.vectors import GET, POST

NO = Refusal("not-found", "no")


def boom(_x: Exchange) -> Outcome:
    raise RuntimeError("boom")


def test_stages_in_order_until_one_speaks() -> None:
    """None goes on, a refusal ends; what follows is not called."""
    called: list[str] = []

    def first(_x: Exchange) -> Outcome:
        called.append("first")
        return None

    def second(_x: Exchange) -> Outcome:
        called.append("second")
        return NO

    rig = Rig(stages=(first, second, boom))
    rig.send(GET + b"\r\n")
    assert called == ["first", "second"]
    assert rig.answers()[0][0] == 404
    assert rig.finished[0].reason == "no"


def test_exception_in_a_stage() -> None:
    """500 if no head was sent, finished once, and the connection lives on."""
    rig = Rig(stages=(lambda x: boom(x) if x.path == b"/x" else None,))
    rig.send(GET + b"\r\n" + b"GET /y HTTP/1.1\r\nHost: a\r\n\r\n")
    assert [status for status, _ in rig.answers()] == [500, 200]
    assert len(rig.finished) == 2


def test_exception_in_hooks() -> None:
    """In on_head: the client is cut off if the refusal fails too; in on_finish: logged, the other hooks run."""

    def bad_hook(_x: Exchange) -> None:
        raise RuntimeError("hook")

    rig = Rig(on_head=(bad_hook,))
    rig.send(GET + b"\r\n")
    assert rig.wire.closed == "abort"
    assert len(rig.finished) == 1
    rig = Rig(on_finish=(bad_hook,))
    rig.send(GET + b"\r\n")
    assert rig.answers() == [(200, b"ok")]
    assert len(rig.finished) == 1
    rig = Rig(on_answer=lambda _x, _head: 1 / 0, answer=lambda _request: OK)  # type: ignore[arg-type,return-value]
    rig.send(GET + b"\r\n")
    assert rig.answers()[0][0] == 500
    assert rig.pool.active == 0


def test_pipeline_that_says_nothing() -> None:
    """Falling off the end is a fault of ours, not a hang."""
    rig = Rig()
    x_stage = rig.pipeline.stages[0]
    rig.server.pipeline = runner.Pipeline((x_stage,), (), (rig.finished.append,))
    rig.send(GET + b"\r\n")
    assert rig.answers()[0][0] == 500


def test_malformed_requests_pass_the_always_stages_only() -> None:
    """Ids and in-flight counts see them; the rest of the path does not."""
    rig = Rig(stages=(boom,), always=(lambda x: setattr(x, "request_id", b"r1"),))  # type: ignore[func-returns-value,arg-type,return-value]
    rig.send(b"GET /x HTTP/1.1\r\n\r\n")
    assert rig.answers()[0][0] == 400
    assert rig.finished[0].request_id == b"r1"
    assert rig.exchanges == []


def test_failure_hook_may_wait() -> None:
    """PARKED from the hook keeps the exchange; a rewind with its ticket goes on, a stale one does nothing."""
    kept: list[tuple[Exchange, int]] = []

    def later(x: Exchange, _failure: object) -> Outcome:
        kept.append((x, x.ticket))
        return PARKED

    rig = Rig(on_failure=later, answer=lambda _request: OK if kept else None)
    rig.send(GET + b"\r\n")
    rig.origins[0].wire.lose()
    x, ticket = kept[0]
    assert not runner.rewind(x, 1, ticket - 1)
    assert rig.wire.out == b""
    assert runner.rewind(x, 1, ticket)
    assert not runner.rewind(x, 1, ticket)
    rig.settle()
    assert rig.answers() == [(200, b"ok")]
    assert len(rig.finished) == 1


def test_refusal_of_a_failure_hook() -> None:
    """The hook's own words, instead of the engine's."""
    rig = Rig(on_failure=lambda _x, _failure: NO, answer=lambda _request: None)
    rig.send(GET + b"\r\n")
    rig.origins[0].wire.lose()
    assert rig.answers()[0][0] == 404


OUTCOMES = st.sampled_from(["go", "refuse", "answer", "raise", "park", "gone"])


@settings(deadline=None)
@given(st.lists(OUTCOMES, min_size=1, max_size=4), st.integers(1, 3), st.booleans())
def test_every_exchange_ends_once(plan: list[str], count: int, upstream_dies: bool) -> None:
    """In-flight returns to 0 and on_finish runs once for each exchange that began, in any interleaving (invariant 8)."""
    parked: list[tuple[Exchange, int]] = []

    def stage(kind: str) -> runner.Stage:
        def run(x: Exchange) -> Outcome:
            if kind == "raise":
                raise RuntimeError("planned")
            if kind in {"park", "gone"}:
                parked.append((x, x.ticket))
                return PARKED
            return {"go": None, "refuse": NO, "answer": Answer(200)}[kind]

        return run

    rig = Rig(stages=tuple(map(stage, plan)), answer=lambda _request: None if upstream_dies else OK)
    rig.send((POST + b"Content-Length: 1\r\n\r\nx") * count)
    for _ in range(20):
        if not parked:
            break
        x, ticket = parked.pop(0)
        if plan[x.at - 2] == "gone" and not rig.wire.closed:
            rig.client.connection_lost(None)
        runner.resume(x, ticket)
        rig.settle()
    for origin in rig.origins:
        if upstream_dies and not origin.wire.closed:
            origin.wire.lose()
    rig.settle()
    if not rig.wire.closed:
        rig.client.connection_lost(None)
    assert len({id(x) for x in rig.finished}) == len(rig.finished) == len(rig.exchanges)
    assert all(x.state == DONE for x in rig.exchanges)
    assert rig.pool.active == 0


@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans(), st.booleans()), max_size=30))
def test_a_stale_ticket_changes_nothing(calls: list[tuple[int, bool, bool]]) -> None:
    """Of all the callbacks that come, whenever they come, only the one with the current ticket moves the exchange (invariant 9)."""
    rig = Rig(stages=(lambda _x: PARKED,) * 4)
    rig.send(GET + b"\r\n")
    (x,) = rig.exchanges
    for off, refuses, rewinds in calls:
        before = (x.state, x.at, x.ticket, rig.wire.out)
        ticket = x.ticket + off
        if rewinds:
            moved = runner.rewind(x, 1, ticket)
            assert moved == (off == 0 and before[0] == PARKED_STATE)
        else:
            runner.resume(x, ticket, NO if refuses else None)
        rig.settle()
        if off or before[0] != PARKED_STATE:
            assert (x.state, x.at, x.ticket, rig.wire.out) == before
    if x.state == PARKED_STATE:
        runner.resume(x, x.ticket, NO)
    assert len(rig.finished) == rig.heads == 1
