"""Logging in, whatever the door: the checks in the order that costs a guesser most and us least (contract.md 4).

login-pair limit (Redis) → the user's row → a slot of the hashing pool → the limit again (others may have guessed
while we waited) → argon2, on a dummy for unknown e-mails → one answer for every failure. Called by routes/auth.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.api.access import Caller
from services.api.errors import Problem
from services.api.repository import users
from services.api.repository.users import UserRow
from services.api.sessions import Session, SessionUser

if TYPE_CHECKING:
    from services.api.services import Services


async def check_password(services: Services, who: Caller, email: str, password: str) -> tuple[UserRow, str | None]:
    """The user whose password this is, and a better hash to store. Raises 401, 429, 503."""
    await services.logins.check(email, who.address)
    async with services.db.read() as connection:
        user = await users.by_email(connection, email)
    async with services.passwords.slot():
        await services.logins.check(email, who.address)
        matches, better = await services.passwords.verify(password, user.password_hash if user else None)
    if user is None or not matches or user.disabled:
        await _failed(services, who, email, user)
        raise Problem("invalid-credentials")
    return user, better


async def log_in(
    services: Services, who: Caller, user: UserRow, better: str | None, *, user_agent: str, via: str
) -> tuple[str, Session]:
    """A session for a user who has proven who they are; the row, the audit entry and the session come together or not
    at all.
    """
    async with services.db.transaction() as connection:
        await users.logged_in(connection, user.id, better)
        token, session = await services.sessions.create(
            SessionUser(user.id, user.email, user.role, user.tier), who.address, user_agent
        )
        try:
            await services.audit.append(connection, who, "user.login", target=("user", user.id), details={"via": via})
        except BaseException:
            await services.sessions.end(session.sid, user.id)
            raise
    await services.logins.succeeded(user.email, who.address)
    services.metrics.logins.inc("success")
    return token, session


async def _failed(services: Services, who: Caller, email: str, user: UserRow | None) -> None:
    services.metrics.logins.inc("failure")
    fifth = await services.logins.failed(email, who.address)
    async with services.db.transaction() as connection:
        target = ("user", user.id) if user else None
        await services.audit.append(connection, who, "user.login_failed", target=target, details={"email": email})
        if fifth:
            await services.audit.append(connection, who, "security.brute_force", details={"failures": 5})


def acceptable(password: str, email: str) -> str:
    """Why a new password is refused; empty: it is not. Its length is the model's."""
    local = email.partition("@")[0].lower()
    return "must not contain the name of your e-mail address" if local and local in password.lower() else ""


async def new_hash(services: Services, password: str) -> str:
    async with services.passwords.slot():
        return await services.passwords.hash(password)
