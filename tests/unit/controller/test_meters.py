"""The controller's series: each of operator.md §11 that is not the home's, with a value that a visit makes."""

from __future__ import annotations

import re

from tests.unit.controller.scene import Stage, api

NAMES = """
objects pods loop_seconds decision_to_write_seconds ack_seconds last_decision_timestamp_seconds observation_age_seconds
poll_stretch polls_total writes_total pushes_total drains_total rotations_total reconcile_errors_total decisions_total
resource_condition component_replicas_desired component_replicas_ready component_replicas_min component_replicas_max
component_replicas_recommended component_in_panic component_in_fallback build_info
"""


def scraped(stage: Stage) -> str:
    return stage.controller.meters.metrics.render("")[0].decode()


async def test_every_series_is_there_by_name():
    """Documented names are API: dashboards and alerts are built on them."""
    stage = Stage()
    await stage.seconds(1)
    named = set(re.findall(r"^# TYPE operator_(\w+) ", scraped(stage), re.MULTILINE))
    assert set(NAMES.split()) <= named


async def test_what_a_visit_did_is_counted():
    """Polls, pushes, writes, decisions, rotations; replicas and conditions as they are now."""
    stage = Stage(api(namespace="prod"))
    stage.ports.says["api"] = {"rps": 240.0}
    await stage.seconds(3)
    text = scraped(stage)
    for line in (
        'operator_polls_total{outcome="ok"}',
        'operator_pushes_total{outcome="ok"} 2.0',
        'operator_writes_total{kind="scale"} 1.0',
        'operator_rotations_total{outcome="Enforced"} 1.0',
        'operator_decisions_total{component="api",reason="Panic"} 1.0',
        'operator_component_replicas_desired{component="api",name="shop",namespace="prod"} 8.0',
        'operator_component_in_panic{component="api",name="shop",namespace="prod"} 1.0',
        'operator_resource_condition{name="shop",namespace="prod",status="True",type="Accepted"} 1.0',
        "operator_decision_to_write_seconds_count 1.0",
        "operator_ack_seconds_count 1.0",
        "operator_loop_seconds_count 3.0",
        "operator_objects 1.0",
    ):
        assert line in text, line


async def test_mute_processes_drains_and_failed_visits_are_counted():
    """What went wrong has a number too."""
    stage = Stage(api=3)
    await stage.seconds(1)
    stage.ports.mute = {"api-3"}
    await stage.controller._visitor.ports.drain(stage.backend.workloads["api"].pods, "t", 1, on=True)
    await stage.seconds(1)
    stage.backend.fleet = None  # type: ignore[assignment,method-assign]
    await stage.controller.tick()
    text = scraped(stage)
    assert 'operator_polls_total{outcome="mute"} 1.0' in text
    assert 'operator_drains_total{outcome="ok"} 2.0' in text
    assert 'operator_drains_total{outcome="mute"} 1.0' in text
    assert 'operator_reconcile_errors_total{where="visit"} 1.0' in text


async def test_the_oldest_snapshot_has_an_age():
    """Seconds since the pod that was heard longest ago was heard."""
    stage = Stage()
    await stage.seconds(1)
    stage.now_ms += 2500
    assert "operator_observation_age_seconds 2.5" in scraped(stage)
