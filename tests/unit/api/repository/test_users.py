from __future__ import annotations

from services.api.repository.users import SQL, UserRow, _user


def test_rows_become_users() -> None:
    """Disabled is whether, not when; nobody is None."""
    row = {
        "id": "u",
        "email": "e",
        "password_hash": None,
        "role": "user",
        "tier": "free",
        "must_change_password": False,
        "disabled_at": 1,
    }
    assert _user(row) == UserRow("u", "e", None, "user", "free", must_change_password=False, disabled=True)  # type: ignore[arg-type]
    assert _user(None) is None


def test_every_look_up_by_email_ignores_case() -> None:
    """As the unique index does, so it is used."""
    assert "lower(email) = lower($1)" in SQL["by_email"].sql
