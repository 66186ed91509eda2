"""The Immediate rotation: phases of operator.md §6 as far as this version has them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.controller import acks, rotation
from services.controller.acks import Acks
from services.controller.backend import Pod, Record
from services.controller.rotation import plan
from services.schema.scalable_api import ScalableApiSpec, tiers_spec
from services.schema.tiers import BUILT_IN, document, spec_hash
from tests.unit.controller.scene import Stage, spec


def limits(quota: int, **rotation_: object) -> ScalableApiSpec:
    return spec(
        tiers={"credentialFailures": {"name": "credential-ip", "quota": quota, "window": 60}, "rotation": rotation_}
    )


async def settled(**replicas: Any) -> Stage:
    stage = Stage(**replicas)
    await stage.seconds(2)
    return stage


async def test_a_changed_tier_is_written_then_pushed_then_acknowledged_in_one_tick():
    """r1→r2; the file is first; history has the old one."""
    stage = await settled(gateway=2)
    stage.change(spec=limits(31))
    status = await stage.seconds(1)
    assert stage.ports.calls[-3:] == ["push gateway-1 r2", "push gateway-2 r2", "push balancer-3 r2"]
    assert (status.tiers.phase, status.tiers.active_revision, status.tiers.pods.acked) == ("Active", 2, 3)
    assert [(h.revision, h.outcome) for h in status.tiers.history] == [(1, "Enforced")]
    assert stage.backend.writes[-2:] == ["record r2 RollingOut", "record r2 Active"]


async def test_a_mute_gateway_becomes_stale_and_is_asked_less_and_less():
    """Every tick until ackTimeout, then after 1, 2, 4 … s; named in the status; still counted once it answers."""
    stage = await settled(gateway=2)
    stage.ports.mute = {"gateway-2"}
    stage.change(spec=limits(31, ackTimeout="5s"))
    status = await stage.seconds(4)
    assert (status.tiers.phase, stage.condition("TiersEnforced").reason) == ("RollingOut", "RolloutInProgress")
    assert status.summary.tiers == "r1→r2 2/3"
    status = await stage.seconds(3)
    assert status.tiers.pods.stale == ("gateway-2",)
    assert stage.condition("TiersEnforced").reason == "PodsStale"
    assert stage.reasons().count("PodsStale") == 1
    before = len(stage.ports.calls)
    await stage.seconds(30)
    assert len(stage.ports.calls) - before <= 6
    stage.ports.mute = set()
    status = await stage.seconds(31)
    assert (status.tiers.phase, status.tiers.pods.acked) == ("Active", 3)


async def test_a_refusal_rolls_back_and_the_hash_is_not_tried_again():
    """422: the old content as a newer revision, RolledBack; another spec is tried."""
    stage = await settled(gateway=2)
    stage.ports.refuses = {"gateway-2"}
    stage.change(spec=limits(31))
    await stage.seconds(1)
    stage.ports.refuses = set()
    status = await stage.seconds(2)
    assert (status.tiers.phase, status.tiers.active_revision) == ("RolledBack", 3)
    assert status.tiers.active_hash == status.tiers.history[1].hash
    assert [h.outcome for h in status.tiers.history] == ["RolledBack", "Enforced"]
    assert stage.condition("TiersEnforced").reason == "RolledBack"
    writes = len(stage.backend.writes)
    await stage.seconds(5)
    assert len(stage.backend.writes) == writes
    stage.change(spec=limits(32))
    status = await stage.seconds(2)
    assert (status.tiers.phase, status.tiers.active_revision, status.tiers.failed_hash) == ("Active", 4, "")
    assert "TiersRolledBack" in stage.reasons()


async def test_the_spec_that_went_back_by_itself_is_active_again():
    """After a rollback the user writes the old content: nothing to push, phase Active, no failed hash."""
    stage = await settled()
    stage.ports.refuses = {"gateway-1"}
    stage.change(spec=limits(31))
    await stage.seconds(1)
    stage.ports.refuses = set()
    await stage.seconds(2)
    stage.change(spec=spec())
    status = await stage.seconds(2)
    assert (status.tiers.phase, status.tiers.failed_hash) == ("Active", "")


async def test_the_first_document_refused_falls_back_to_the_built_in_one():
    """Nothing was in force before: the built-in content as revision 2."""
    stage = Stage()
    stage.ports.refuses = {"gateway-1"}
    stage.change(spec=limits(31))
    await stage.seconds(1)
    assert stage.backend.record is not None
    assert stage.backend.record.active is not None
    assert (stage.backend.record.active.revision, stage.backend.record.active.spec) == (2, BUILT_IN.spec)


async def test_a_newer_revision_somewhere_is_never_forced():
    """409: the record is read again before the next push."""
    stage = await settled()
    stage.ports.holds_newer = {"gateway-1"}
    stage.change(spec=limits(31))
    reads = []
    whole = stage.backend.read_record

    async def read(found):
        reads.append(1)
        return await whole(found)

    stage.backend.read_record = read  # type: ignore[method-assign]
    await stage.seconds(3)
    assert len(reads) >= 3
    assert stage.backend.record is not None
    assert stage.backend.record.phase == "RollingOut"


async def test_paused_tiers_wait():
    """Paused: the old one stays in force and True; the first document is not held back."""
    stage = await settled()
    stage.change(spec=spec(paused={"tiers": True}, circuitBreaker={"openSeconds": 31}))
    status = await stage.seconds(2)
    assert (status.tiers.phase, status.tiers.active_revision) == ("Paused", 1)
    assert (stage.condition("TiersEnforced").status, stage.condition("Paused").reason) == ("True", "TiersPaused")
    stage.change(spec=spec(paused={"tiers": True}))
    assert (await stage.seconds(1)).tiers.phase == "Active"


async def test_two_changes_in_a_row_supersede():
    """A document that was not everywhere yet is Superseded by the next."""
    stage = await settled(gateway=2)
    stage.ports.mute = {"gateway-2"}
    stage.change(spec=limits(31))
    await stage.seconds(1)
    stage.change(spec=limits(32))
    status = await stage.seconds(1)
    assert [h.outcome for h in status.tiers.history] == ["Superseded", "Enforced"]


async def test_without_gateways_nothing_is_claimed():
    """Unknown/NoGateways; the document waits in its file."""
    stage = Stage(gateway=0, balancer=0)
    stage.change(spec=spec(components=[{"name": "api", "minReplicas": 2}]))
    status = await stage.seconds(3)
    assert stage.condition("TiersEnforced").reason == "NoGateways"
    assert status.tiers.phase == "RollingOut"


def test_a_document_too_long_is_rejected(monkeypatch):
    """Over 64 KiB: Rejected, told once, the old one stays; the old spec again: Active."""
    first = plan(0, spec(), Record(), Acks()).record
    monkeypatch.setattr(rotation, "MAX_BYTES", 100)
    rejected = plan(1, limits(31), first, Acks())
    assert (rejected.record.phase, rejected.record.active) == ("Rejected", first.active)
    assert [event.reason for event in rejected.events] == ["TiersRejected"]
    assert plan(2, limits(31), rejected.record, Acks()).events == ()
    assert plan(3, spec(), rejected.record, Acks()).record.phase == "Active"


def test_history_is_bounded_and_keeps_what_a_rollback_needs():
    """historyLimit entries, one at least."""
    record, limit = Record(), 2
    for quota in range(10, 16):
        record = plan(0, limits(quota, historyLimit=limit), record, Acks()).record
    assert len(record.history) == limit
    record = plan(0, limits(99, historyLimit=0), record, Acks()).record
    assert len(record.history) == 1


@pytest.mark.parametrize(("since", "expected"), [(0, ["gateway-1"]), (90_000, [])])
def test_stale_needs_its_time(since, expected):
    """Live, unacknowledged, and ackTimeout has passed."""
    known = Acks(live=(Pod("u", "gateway-1", "Running", ready=True),))
    first = plan(0, spec(), Record(), Acks()).record
    assert acks.stale(100_000, replace(first, since_ms=since), spec(), known) == expected
    assert tiers_spec(spec()) == BUILT_IN.spec


STEPS = st.lists(
    st.tuples(
        st.sampled_from([30, 31, 32]),
        st.sampled_from(["Immediate", "Canary"]),
        st.sets(st.sampled_from(["gateway-1", "gateway-2", "balancer-4"])),  # mute
        st.sampled_from(["", "", "gateway-1", "gateway-3"]),  # refuses
        st.booleans(),  # the controller dies and another takes over
        st.integers(1, 3),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=25)
@given(STEPS)
def test_p14_any_trace_enforces_only_the_specs_documents(steps):
    """Silent and refusing pods, crashes, changes: revisions grow, contents were the spec's, the end is a rest."""

    async def play() -> None:
        stage, said = Stage(gateway=3), {BUILT_IN.hash}
        revision = 0
        for quota, strategy, mute, refuses, crash, seconds in steps:
            stage.change(spec=limits(quota, strategy=strategy))
            said.add(spec_hash(tiers_spec(limits(quota))))
            stage.ports.mute, stage.ports.refuses = set(mute), {refuses} - {""}
            if crash:
                stage.restart()
            for _ in range(seconds):
                await stage.seconds(1)
                assert stage.backend.record is not None
                assert stage.backend.record.active is not None
                assert stage.backend.record.active.revision >= revision
                revision = stage.backend.record.active.revision
                assert {tier.hash for tier in stage.ports.enforced.values()} <= said
        stage.ports.mute, stage.ports.refuses = set(), set()
        stage.change(spec=limits(quota))
        status = await stage.seconds(35)
        assert status.tiers.phase in {"Active", "RolledBack"}
        assert {tier.hash for tier in stage.ports.enforced.values()} == {status.tiers.active_hash}

    asyncio.run(play())


def test_a_document_is_made_once_while_nothing_changes():
    """At rest neither rendering nor hashing is paid for again; another spec, document or phase makes a new one."""
    memo, asked = rotation.Memo(), spec()
    record = Record(active=document(3, tiers_spec(asked)))
    first = memo.wanted(asked, record)
    assert memo.wanted(asked, replace(record, failed_hash="sha256:1")) is first
    assert memo.wanted(asked, replace(record, phase="RollingOut")) is not first
    assert memo.wanted(spec(), record).target == first.target
    assert memo.wanted(asked, Record(active=document(7, tiers_spec(asked)))).target.revision == 8
