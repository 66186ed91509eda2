from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from services.gateway import pipeline
from services.gateway.stages.bound import bound
from tests.unit.gateway.doubles import exchange


def hooks(*names: str) -> Any:
    return SimpleNamespace(**{name: name for name in names})


def test_the_path():
    """Stages in the order of their names, `forward` last and told where it stands; each hook once."""
    parts: Any = SimpleNamespace(
        trace="trace",
        route="route",
        measure=hooks("on_finish"),
        authenticate="authenticate",
        own="own",
        limit=hooks("on_head", "on_finish"),
        forward=hooks("on_finish", "on_answer", "on_failure"),
        answer="answer",
    )
    path: Any = pipeline.build(parts)
    by_name = {"measure": parts.measure, "limit": parts.limit, "forward": parts.forward, "bound": bound}
    assert [by_name.get(name, name) for name in pipeline.NAMES] == list(path.stages)
    assert path.stages[parts.forward.at] is parts.forward
    assert path.on_finish == ("on_finish",) * 3
    assert path.on_head == ("on_head", "answer")
    assert path.always == ("trace", parts.measure)


def test_the_stage_that_decided():
    """By the exchange's place; what the engine refused is `http`."""
    x = exchange()
    x.at = 0
    assert pipeline.stage_of(x) == "http"
    x.at = len(pipeline.NAMES)
    assert pipeline.stage_of(x) == "forward"
    x.at = pipeline.NAMES.index("limit") + 1
    assert pipeline.stage_of(x) == "limit"
