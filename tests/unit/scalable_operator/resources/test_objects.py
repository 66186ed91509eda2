"""What is written, and read back."""

from __future__ import annotations

from datetime import UTC, datetime

from scalable_operator import records
from scalable_operator.resources import objects
from services.controller import rotation
from services.controller.acks import Acks
from services.controller.backend import Event, Record
from services.schema.scalable_api import ScalableApiSpec
from services.schema.status import Status
from services.schema.tiers import BUILT_IN, document
from tests.unit.scalable_operator.test_records import api

API = records.api_record(api({"components": [{"name": "api"}]}))


def test_a_record_survives_the_config_map() -> None:
    """Every member, the candidate and the budget's line among them; `seen` is the version."""
    first, second = document(1, BUILT_IN.spec), document(2, BUILT_IN.spec)
    record = Record(active=first, phase="Canary", since_ms=5, candidate=second, canaries=("p",), retry="1")
    body = objects.config_map(API, record, "7")
    found = objects.record_of(body)
    assert found is not None
    assert (found.active, found.candidate, found.canaries, found.phase) == (first, second, ("p",), "Canary")
    assert found.seen == "7"
    owner = body["metadata"]["ownerReferences"][0]
    assert (owner["controller"], owner["blockOwnerDeletion"], owner["uid"]) == (True, False, "u")
    assert body["metadata"]["labels"] == {"scalableapi.io/tiers": "true"}


def test_a_document_that_no_annotation_tells_of_is_in_force_since_it_was_made() -> None:
    """A chart's ConfigMap: what takes its place enters it into the history with that moment, not with 1970."""
    body = objects.config_map(API, Record(active=document(1, BUILT_IN.spec)), "7")
    body["metadata"] |= {"annotations": {}, "creationTimestamp": "2026-11-24T10:00:00Z"}
    found = objects.record_of(body)
    assert found is not None
    wanted = ScalableApiSpec.model_validate({"components": [{"name": "api"}], "tiers": {"anonymousTier": "free"}})
    planned = rotation.plan(1_800_000_000_000, wanted, found, Acks()).record
    assert [entry.at for entry, _ in planned.history] == ["2026-11-24T10:00:00.000Z"]


def test_a_spoilt_config_map_is_no_record() -> None:
    """Whatever stands in it."""
    body = objects.config_map(API, Record(active=document(1, BUILT_IN.spec)), "7")
    body["data"]["tiers.yaml"] = "{"
    assert objects.record_of(body) is None
    body["metadata"]["annotations"]["scalableapi.io/rotation"] = "{"
    body["data"]["history.yaml"] = "- ["
    assert objects.record_of(body) is None


def test_its_digest_is_of_what_is_ours() -> None:
    """Somebody's annotation does not count, a changed document does."""
    body = objects.config_map(API, Record(active=document(1, BUILT_IN.spec)), "")
    before = records.config_map_digest(body)
    body["metadata"]["annotations"]["theirs"] = "x"
    assert records.config_map_digest(body) == before
    body["data"]["tiers.yaml"] += "#"
    assert records.config_map_digest(body) != before


def test_the_others() -> None:
    """Status by uid, scale at a version, a cost that null removes, an Event that names its object."""
    assert objects.status(API, Status())["metadata"] == {"name": "shop", "namespace": "n", "uid": "u"}
    assert objects.scale(4, "9") == {"metadata": {"resourceVersion": "9"}, "spec": {"replicas": 4}}
    assert objects.cost("p", None)["metadata"]["annotations"] == {records.COST: None}
    told = objects.event(API, Event("Normal", "ScaledUp", "api 1→2", "api"), "op-1", datetime(2026, 1, 1, tzinfo=UTC))
    assert told["eventTime"] == "2026-01-01T00:00:00.000000Z"
    assert (told["regarding"]["uid"], told["reason"], told["action"]) == ("u", "ScaledUp", "api")
