from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.api.access import Caller
from services.api.errors import Problem
from services.api.keyring import Changes, check_scopes, check_tier, normal, view
from services.api.repository.keys import Owner
from services.schema.tiers import BUILT_IN
from tests.unit.api.offline import USER, claims

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def row(**more: Any) -> Any:
    return {
        "id": "0123456789",
        "user_id": USER,
        "name": "n",
        "tier": "free",
        "scopes": ["read"],
        "env": "live",
        "created_at": NOW,
        "expires_at": None,
        "revoked_at": None,
        "replaces": None,
        "last_used": None,
        "rotated": False,
        "requests_per_minute": None,
        "burst_limit": None,
        "mode": None,
        "override_expires_at": None,
        "now": NOW,
    } | more


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({}, "active"),
        ({"expires_at": NOW + timedelta(seconds=1)}, "active"),
        ({"expires_at": NOW}, "expired"),
        ({"rotated": True}, "expiring"),
        ({"rotated": True, "expires_at": NOW}, "expired"),
        ({"revoked_at": NOW, "rotated": True}, "revoked"),
    ],
)
def test_status(more: dict[str, Any], status: str) -> None:
    """Revoked beats expired beats rotated, by the database's clock."""
    assert view(row(**more), BUILT_IN).status == status


def test_override_is_shown() -> None:
    """The live override of the key, null without one."""
    assert view(row(), BUILT_IN).override is None
    shown = view(row(mode="shadow", requests_per_minute=5), BUILT_IN).override
    assert shown
    assert (shown.requests_per_minute, shown.mode) == (5, "shadow")


def test_normal() -> None:
    """Once each, in one order; the old `admin` as what it means."""
    assert normal(["admin", "read", "read"]) == ("read", "admin:read", "admin:write")


@pytest.mark.parametrize(
    ("caller", "scopes", "may"),
    [
        (claims("user"), ("read", "write", "keys"), True),
        (claims("user"), ("*",), True),
        (claims("user"), ("admin:read",), False),
        (claims("user", key="0", scopes=("keys",)), ("keys",), True),
        (claims("user", key="0", scopes=("keys",)), ("*",), False),
        (claims("user", key="0", scopes=("*",)), ("*",), True),
        (claims("user", key="0", scopes=("write", "keys")), ("read",), True),
    ],
)
def test_nobody_hands_out_more_than_they_hold(caller: Any, scopes: tuple[str, ...], may: bool) -> None:
    """A key's scopes are at most its maker's."""
    owner = Owner(USER, "user", "free", disabled=False)
    if may:
        check_scopes(Caller(caller, "", ""), owner, scopes, by_admin=False)
    else:
        with pytest.raises(Problem, match="scope"):
            check_scopes(Caller(caller, "", ""), owner, scopes, by_admin=False)


def test_an_admin_keeps_to_the_owners_role() -> None:
    """What the owner could never do is a mistake in the request."""
    owner = Owner(USER, "viewer", "free", disabled=False)
    check_scopes(Caller(claims("admin"), "", ""), owner, ("admin:read",), by_admin=True)
    with pytest.raises(Problem) as caught:
        check_scopes(Caller(claims("admin"), "", ""), owner, ("admin:write",), by_admin=True)
    assert caught.value.slug == "validation-failed"


def test_tiers() -> None:
    """Unknown: 400 for everybody; above one's own: 403, but for an admin."""
    owner = Owner(USER, "user", "pro", disabled=False)
    for wanted, by_admin, status in (("gold", True, 400), ("gold", False, 400), ("enterprise", False, 403)):
        with pytest.raises(Problem) as caught:
            check_tier(BUILT_IN, owner, wanted, by_admin=by_admin)
        assert caught.value.status == status
    for wanted_or_none, by_admin in ((None, False), ("pro", False), ("free", False), ("enterprise", True)):
        check_tier(BUILT_IN, owner, wanted_or_none, by_admin=by_admin)


def test_changes_know_their_names() -> None:
    """For the audit row: what was asked to change, also to null."""
    assert Changes("n", None, (None,)).names == ["name", "expiresAt"]
