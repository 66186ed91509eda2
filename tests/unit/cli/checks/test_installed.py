"""What is made of Leases and of conditions; asking a real cluster: tests/cluster/test_cli.py."""

from __future__ import annotations

from services.cli.checks.finding import Mark
from services.cli.checks.installed import judged, leader
from services.schema.status import StoredObject
from tests.unit.cli.commands.test_waiting import BUSY, READY, condition, seen

NOW = 1_795_514_402.0
AT = "2026-11-24T10:00:02.000000Z"


def test_one_leads() -> None:
    """By a Lease that is held and renewed; held by a dead one, free, or absent is bad."""
    held = {"spec": {"holderIdentity": "operator-1", "renewTime": AT}}
    assert (leader([held], NOW).mark, leader([held], NOW).text) == (Mark.good, "operator-1")
    assert leader([held], NOW + 60).text == "none renews its Lease"
    assert leader([{"spec": {"holderIdentity": ""}}], NOW).mark is Mark.bad
    assert "not installed" in leader([], NOW).text


def test_a_good_object_is_one_line() -> None:
    """With its counts; a thing to look at stands alone, without the good line."""
    (fine,) = judged([StoredObject.model_validate(seen(READY))])
    assert (fine.mark, fine.subject) == (Mark.good, "shop")
    paused = condition("Paused", "True", "ScalingPaused", "up")
    (found,) = judged([StoredObject.model_validate(seen(READY, paused))])
    assert (found.mark, found.text) == (Mark.look, "Paused is True, ScalingPaused: up")


def test_why_it_is_not_ready() -> None:
    """The condition that tells why, not Ready beside it; Ready itself if no other does: a pause is no reason."""
    away = condition("Available", "False", "MinimumReplicasUnavailable", "api has 0 ready of 1, needs 1")
    (found,) = judged([StoredObject.model_validate(seen(BUSY, away))])
    assert (found.mark, found.text.startswith("Available is False"), found.fix != "") == (Mark.bad, True, True)
    (alone,) = judged([StoredObject.model_validate(seen(BUSY))])
    assert alone.text.startswith("Ready is False")
    paused = condition("Paused", "True", "ScalingPaused", "up")
    both = judged([StoredObject.model_validate(seen(BUSY, paused))])
    assert [one.mark for one in both] == [Mark.bad, Mark.look]


def test_nobody_has_looked() -> None:
    """A status of an older spec, or none, is the operator's absence; no object at all is bad too."""
    for none in (seen(READY, generation=0), seen()):
        (found,) = judged([StoredObject.model_validate(none)])
        assert (found.mark, "watch" in found.fix) == (Mark.bad, True)
    (empty,) = judged([])
    assert empty.mark is Mark.bad
