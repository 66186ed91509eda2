from __future__ import annotations

from services.api.logins import _pair


def test_pair_is_account_and_network() -> None:
    """Case of the e-mail makes no difference, nor does the host within an IPv6 /64; the e-mail itself is not kept."""
    assert _pair("A@B.c", "192.0.2.1") == _pair("a@b.c", "192.0.2.1")
    assert _pair("a@b.c", "2001:db8::1") == _pair("a@b.c", "2001:db8::ffff")
    assert _pair("a@b.c", "192.0.2.1") != _pair("a@b.c", "192.0.2.2")
    assert "b.c" not in _pair("a@b.c", "192.0.2.1")
