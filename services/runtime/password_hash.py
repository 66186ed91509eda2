"""Argon2id with the project's parameters (contract.md 4): the OWASP minimum, so that two hashes at a time fit a small
container.

Called by the api's bounded pool and by migrate.py, which makes the first users. Both calls block for some 20 ms.
"""

from __future__ import annotations

from typing import Final

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

_HASHER: Final = PasswordHash((Argon2Hasher(time_cost=2, memory_cost=19_456, parallelism=1),))


def hash_password(password: str) -> str:
    """A salted argon2id hash in its usual text form."""
    return _HASHER.hash(password)


def verify_password(password: str, stored: str) -> tuple[bool, str | None]:
    """Whether they match, and a new hash if the stored one was made with other parameters."""
    return _HASHER.verify_and_update(password, stored)
