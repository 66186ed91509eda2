"""How an identifier is written in a request (contract.md section 5): one pattern, checked and documented alike.

`key:<id>`, `user:<uuid>`, `ip:<address>`; for overrides also `ip:<range>`.
"""

from __future__ import annotations

from typing import Final

_BYTE: Final = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4: Final = rf"({_BYTE}\.){{3}}{_BYTE}"
_GROUP: Final = "[0-9a-fA-F]{1,4}"


def _ipv6() -> str:
    """Eight groups, or fewer with one `::`."""
    forms = [f"({_GROUP}:){{7}}{_GROUP}", f"({_GROUP}:){{1,7}}:", f":(:{_GROUP}){{1,7}}", "::"]
    forms += [f"({_GROUP}:){{1,{before}}}(:{_GROUP}){{1,{7 - before}}}" for before in range(1, 7)]
    return f"({'|'.join(forms)})"


_IPV6: Final = _ipv6()
_KEY: Final = "key:[0-9a-z]{10}"
_USER: Final = "user:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"

IDENTIFIER: Final = f"^({_KEY}|{_USER}|ip:({_IPV4}|{_IPV6}(/64)?))$"
"""Whom a limit counts."""
IDENTIFIER_OR_RANGE: Final = (
    f"^({_KEY}|{_USER}|ip:({_IPV4}(/(3[0-2]|[12]?[0-9]))?|{_IPV6}(/(12[0-8]|1[01][0-9]|[1-9]?[0-9]))?))$"
)
"""Whom an override may name."""
