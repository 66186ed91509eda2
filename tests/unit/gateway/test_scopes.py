from __future__ import annotations

import pytest

from services.gateway.scopes import effective, of_session


@pytest.mark.parametrize(
    ("scopes", "role", "got"),
    [
        (["read"], "user", ("read",)),
        (["write"], "user", ("read", "write")),
        (["admin:read"], "user", ()),
        (["admin"], "viewer", ("admin:read",)),
        (["admin:write"], "admin", ("admin:read", "admin:write")),
        (["*"], "user", ("keys", "read", "write")),
        (["read", "invented"], "admin", ("read",)),
        (["*"], "nobody", ()),
    ],
)
def test_a_key_may_do_its_scopes_as_far_as_the_role_reaches(scopes, role, got):
    """Scopes ∩ role, implied ones spelled out, `admin` read as both."""
    assert effective(scopes, role) == got


def test_a_session_holds_all_of_its_role():
    """An admin's session may do everything."""
    assert of_session("admin") == ("admin:read", "admin:write", "keys", "read", "write")
