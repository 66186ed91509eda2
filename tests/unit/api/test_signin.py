from __future__ import annotations

import pytest

from services.api.signin import acceptable


@pytest.mark.parametrize(
    ("password", "email", "fine"),
    [
        ("correct horse battery", "ann@example.com", True),
        ("my name is Ann, really", "ann@example.com", False),
        ("example.com forever", "ann@example.com", True),
    ],
)
def test_a_password_is_not_the_name(password: str, email: str, fine: bool) -> None:
    """The local part of the e-mail, in any case, is what a guesser tries first."""
    assert (acceptable(password, email) == "") is fine
