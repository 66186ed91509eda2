"""Which Deployments an object asks for."""

from __future__ import annotations

from scalable_operator import records, targets
from tests.unit.scalable_operator.test_records import api


def test_named_or_of_its_own_name() -> None:
    """A component that this version does not run has no target; without a spec there is none."""
    asked = records.api_record(
        api({"components": [{"name": "api"}, {"name": "worker"}, {"name": "gateway", "targetRef": {"name": "edge"}}]})
    )
    assert [name for _, name in targets.targets(asked)] == [("n", "shop-api"), ("n", "edge")]
    assert list(targets.targets(records.api_record(api({"components": [{"name": "nothing"}]})))) == []
