from __future__ import annotations

import dataclasses

import pytest
from fastapi import Request

from services.api.services import services_of
from tests.unit.api.offline import offline


async def test_one_container() -> None:
    """A handler gets the process's own parts, and cannot exchange them."""
    service = offline()
    found = services_of(Request({"type": "http", "app": service.app}))
    assert found is service.services
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.db = None  # type: ignore[misc, assignment]
