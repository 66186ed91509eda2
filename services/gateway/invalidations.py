"""Messages on `inv:identity`: something about a caller has changed, on some api or by hand in the database
(contract.md section 4).

Payloads `key:<id>`, `user:<uuid>`, `sess:<sid>`, `override:<identifier>`. After a lost subscription messages may have
been missed: every cached identity is read anew before its next use, and the overrides are read again.
"""

from __future__ import annotations

from typing import Final, Protocol

CHANNEL: Final = "inv:identity"


class Identities(Protocol):
    """Keys, and sessions."""

    def forget(self, name: str) -> None: ...
    def forget_user(self, user_id: str) -> None: ...
    def distrust(self) -> None: ...


class Limiter(Protocol):
    def forget(self, identifier: str) -> None: ...


class Overrides(Protocol):
    def reload(self) -> None: ...


class Invalidations:
    def __init__(self, keys: Identities, sessions: Identities, overrides: Overrides, limiter: Limiter) -> None:
        self._keys, self._sessions, self._overrides, self._limiter = keys, sessions, overrides, limiter

    def heard(self, _channel: str, payload: str) -> None:
        kind, _, name = payload.partition(":")
        if kind == "key":
            self._keys.forget(name)
        elif kind == "sess":
            self._sessions.forget(name)
        elif kind == "user":
            self._keys.forget_user(name)
            self._sessions.forget_user(name)
        elif kind == "override":
            self._limiter.forget(name)
            self._overrides.reload()

    def gap(self) -> None:
        self._keys.distrust()
        self._sessions.distrust()
        self._overrides.reload()
