"""What a credential may do: its scopes, as far as its owner's role reaches (contract.md section 4). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

OF_ROLE: Final[Mapping[str, frozenset[str]]] = {
    "user": frozenset({"read", "write", "keys"}),
    "viewer": frozenset({"read", "write", "keys", "admin:read"}),
    "admin": frozenset({"read", "write", "keys", "admin:read", "admin:write"}),
}
IMPLIED: Final[Mapping[str, tuple[str, ...]]] = {
    "write": ("read",),
    "admin:write": ("admin:read",),
    "admin": ("admin:read", "admin:write"),  # the old system's name
    "*": ("read", "write", "keys", "admin:read", "admin:write"),
}
NAMES: Final = frozenset().union(*OF_ROLE.values())


def effective(scopes: Iterable[str], role: str) -> tuple[str, ...]:
    """Sorted; implied ones spelled out; an unknown role reaches nothing."""
    wanted: set[str] = set()
    for scope in scopes:
        wanted |= {scope, *IMPLIED.get(scope, ())}
    return tuple(sorted(wanted & NAMES & OF_ROLE.get(role, frozenset())))


def of_session(role: str) -> tuple[str, ...]:
    """A session holds every scope its role allows."""
    return effective(("*",), role)
