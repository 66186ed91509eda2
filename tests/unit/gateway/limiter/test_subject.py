from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from services.schema.tiers import Policy, Tier, TiersSpec, document
from tests.unit.gateway.limiter.store import Caller, Gateway, Store


def tiers(*policies: Policy):
    return document(
        1,
        TiersSpec(
            tiers=(Tier(name="t", criticality="critical", policies=policies),),
            anonymous_tier="t",
            default_tier="t",
            routes=(),
        ),
    )


def test_commands_are_constant_bytes() -> None:
    """The same object for the same cost: window and clock are the server's."""
    gateway, caller = Gateway(Store()), Caller()
    subject = gateway.limiter.subject(caller, "", 0.0)
    assert subject.command(1) is subject.command(1)
    assert subject.command(1) != subject.command(2)
    assert b"rl:{ip:192.0.2.1}:anonymous" in subject.command(1)


def test_refusals_are_answered_without_asking() -> None:
    """Once nothing is left, no command is sent until the next unit is free, and the refusal says the same as Redis
    would.
    """
    store, caller = Store(), Caller()
    gateway = Gateway(store)
    assert gateway.admitted(caller, 100) == 100
    sent = len(gateway.batch.sent)
    refused = [gateway.ask(caller) for _ in range(50)]
    assert len(gateway.batch.sent) == sent
    assert not any(d.admitted for d in refused)
    assert refused[0] is refused[-1]  # kept for 100 ms
    assert refused[0].refusal(0.0).retry_after_s == 61
    store.now = 30.0
    assert gateway.ask(caller).refusal(0.0).retry_after_s == 31
    assert len(gateway.batch.sent) == sent


def test_a_dear_request_is_denied_alone() -> None:
    """Refused for its cost: cheaper ones still go to Redis, equal and dearer ones do not."""
    store, caller = Store(), Caller()
    gateway = Gateway(store)
    gateway.admitted(caller, 95)
    assert not gateway.ask(caller, 10).admitted
    sent = len(gateway.batch.sent)
    assert not gateway.ask(caller, 10).admitted
    assert not gateway.ask(caller, 20).admitted
    assert len(gateway.batch.sent) == sent
    assert gateway.ask(caller, 5).admitted


def test_what_redis_forgot_is_not_held_against_the_caller() -> None:
    """Counters that went away (an eviction, an admin elsewhere) show in the next reply, and deny nothing then."""
    store, caller = Store(), Caller()
    gateway = Gateway(store)
    gateway.admitted(caller, 95)
    assert not gateway.ask(caller, 10).admitted
    store.counters.keys.clear()
    assert gateway.ask(caller, 1).admitted
    assert gateway.ask(caller, 10).admitted
    subject = gateway.limiter.subject(caller, "", store.now)
    subject.until = store.now + 9.0  # what no reply could have said
    assert gateway.ask(caller, 1).admitted


policies = st.lists(
    st.tuples(st.sampled_from(["sliding", "gcra"]), st.integers(1, 12), st.integers(1, 4)), min_size=1, max_size=3
)
moves = st.lists(st.tuples(st.integers(0, 900), st.integers(1, 3)), min_size=1, max_size=60)


@settings(max_examples=200, deadline=None)
@given(policies, moves)
def test_the_deny_cache_refuses_nothing_redis_would_admit(rows, steps) -> None:
    """Two gateways, one store, any moments: a local refusal is one that the store would give (invariant 18)."""
    built = tiers(*(Policy(name=f"p{i}", quota=q, window=w, algorithm=a) for i, (a, q, w) in enumerate(rows)))
    store = Store()
    gateways = [Gateway(store, built), Gateway(store, built)]
    callers = [Caller("key:a", "t"), Caller("key:a", "t")]
    for i, (gap_ms, wanted) in enumerate(steps):
        store.now += gap_ms / 1000
        gateway, caller = gateways[i % 2], callers[i % 2]
        subject = gateway.limiter.subject(caller, "", store.now)
        cost = min(wanted, subject.set.cost_max)
        peeked = store.run(subject.peek(cost))
        sent = len(gateway.batch.sent)
        decision = gateway.ask(caller, cost)
        assert decision.admitted == bool(peeked[0])
        if len(gateway.batch.sent) == sent:
            assert not decision.admitted
            wait = decision.refusal(0.0).retry_after_s
            assert wait is not None


def test_old_fault_2b() -> None:
    """100 000 refusals send Redis nothing: its memory does not grow."""
    store, caller = Store(), Caller()
    gateway = Gateway(store)
    gateway.admitted(caller, 100)
    before = dict(store.counters.keys)
    assert gateway.admitted(caller, 100_000) == 0
    assert len(gateway.batch.sent) == 100
    assert store.counters.keys == before
