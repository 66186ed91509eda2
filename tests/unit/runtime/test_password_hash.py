from __future__ import annotations

from argon2 import PasswordHasher

from services.runtime.password_hash import hash_password, verify_password


def test_hash_and_verify() -> None:
    """Salted argon2id with the contract's parameters: the same password twice is two hashes."""
    first, second = hash_password("secret"), hash_password("secret")
    assert first.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert first != second
    assert verify_password("secret", first) == (True, None)
    assert verify_password("wrong", first) == (False, None)


def test_other_parameters_are_hashed_anew() -> None:
    """A right password of an older hash comes with a better one."""
    old = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash("secret")
    matches, better = verify_password("secret", old)
    assert matches
    assert better
    assert "m=19456" in better
