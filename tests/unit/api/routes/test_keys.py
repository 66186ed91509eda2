from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from services.api.errors import Problem
from services.api.models import ApiModel, dump
from services.api.routes.keys import ChangeKey, CreateKey, RotateKey, _expires
from tests.unit.api.offline import claims, client, offline, signed

USER = signed(claims("user"))


@pytest.mark.parametrize(
    "body",
    [
        {"name": "", "scopes": ["read"]},
        {"name": "x" * 101, "scopes": ["read"]},
        {"name": "x", "scopes": []},
        {"name": "x", "scopes": ["root"]},
        {"name": "x", "scopes": "read"},
        {"name": "x", "scopes": ["read"], "tier": "Pro"},
        {"name": "x", "scopes": ["read"], "expiresInDays": 366},
        {"name": "x", "scopes": ["read"], "expiresInDays": 0},
        {"name": "x", "scopes": ["read"], "userId": "someone"},
        {"name": "x", "scopes": ["read"], "keyHash": "00"},
    ],
)
async def test_bodies(body: dict[str, Any]) -> None:
    """Refused with a place, before any store is asked."""
    async with client(offline()) as http:
        answer = await http.post("/api/v1/keys", json=body, headers=USER)
    assert (answer.status_code, answer.json()["code"]) == (400, "VALIDATION_FAILED")
    assert answer.json()["details"]


@pytest.mark.parametrize(("model", "member"), [(CreateKey, "expiresInDays"), (RotateKey, "graceSeconds")])
def test_times_are_whole_numbers(model: type[ApiModel], member: str) -> None:
    """As every whole number of a body: 30.0 is the integer 30; a fraction, text and true are refused."""
    other = {"name": "x", "scopes": ["read"]} if model is CreateKey else {}
    assert dump(model.model_validate({**other, member: 30.0}))[member] == 30
    for wrong in (True, 1.5, "30", [30]):
        with pytest.raises(ValidationError):
            model.model_validate({**other, member: wrong})


async def test_a_reason_is_plain_text() -> None:
    """Postgres text holds no NUL: such a reason is refused, not a fault."""
    async with client(offline()) as http:
        answer = await http.delete("/api/v1/keys/0123456789?reason=%00", headers=USER)
    assert (answer.status_code, answer.json()["details"][0]["pointer"]) == (400, "?reason")


@pytest.mark.parametrize("key_id", ["x", "012345678i", "0123456789a", "%00", "' OR 1=1--", "x" * 1000])
async def test_what_no_key_is_called_is_absent(key_id: str) -> None:
    """Q3: 404 without a query (the stores are away here)."""
    async with client(offline()) as http:
        assert (await http.get(f"/api/v1/keys/{key_id}", headers=USER)).status_code == 404


def test_expires() -> None:
    """Absent is not null; the past and more than a year are refused."""
    assert _expires(ChangeKey.model_validate({})) is None
    assert _expires(ChangeKey.model_validate({"expiresAt": None})) == (None,)
    soon = datetime.now(UTC) + timedelta(days=1)
    assert _expires(ChangeKey.model_validate({"expiresAt": soon.isoformat()})) == (soon,)
    for days in (-1, 366):
        with pytest.raises(Problem):
            _expires(ChangeKey.model_validate({"expiresAt": (datetime.now(UTC) + timedelta(days=days)).isoformat()}))
