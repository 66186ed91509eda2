"""contract.md 1.2: log in and out, sessions, password; the admin's door to the same rooms."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Final

from fastapi import Request, Response
from pydantic import Field

from services.api import csrf, signin
from services.api.access import ANY, AUTH, SESSION, VIEWER, AccessRouter, Caller, Who
from services.api.cookies import clear_session, set_session
from services.api.errors import Detail, Problem, invalid
from services.api.models import AnswerModel, ApiModel, Message, PlainText, Time, User
from services.api.repository import users
from services.api.repository.users import UserRow
from services.api.services import Deps, Services
from services.api.sessions import Session

LOGIN_LIMIT: Final = 4096  # bytes; contract.md 2.3
router = AccessRouter("/api/v1", ("auth",))
Email = Annotated[PlainText, Field(min_length=1, max_length=254)]
Password = Annotated[str, Field(min_length=1, max_length=128)]


class AdminLogin(ApiModel):
    """No `cookie` member: the admin's door always gives a cookie."""

    sentence: ClassVar[str] = "Email and password required"

    email: Email
    password: Password


class Login(AdminLogin):
    cookie: bool = False


class Link(ApiModel):
    token: Annotated[str, Field(min_length=1, max_length=128)]


class NewPassword(ApiModel):
    current_password: Password
    new_password: Annotated[str, Field(min_length=12, max_length=128)]


class LoggedIn(AnswerModel):
    """`token` without a cookie, `csrfToken` with one."""

    token: str | None = None
    csrf_token: str | None = None
    expires_at: Time
    user: User
    must_change_password: bool | None = None


class Ended(AnswerModel):
    message: str
    ended: int


class SessionView(AnswerModel):
    id: str
    created_at: Time
    last_seen_at: Time
    expires_at: Time
    ip: str
    user_agent: str
    current: bool


class SessionList(AnswerModel):
    sessions: list[SessionView]


class OwnSession(AnswerModel):
    expires_at: Time
    csrf_token: str


class AdminMe(AnswerModel):
    """`session` is null for an API key."""

    user: User
    session: OwnSession | None


@router.post(
    "/auth/login",
    access=ANY,
    csrf=False,
    body_limit=LOGIN_LIMIT,
    response_model=LoggedIn,
    response_model_exclude_none=True,
)
async def login(body: Login, request: Request, response: Response, who: Who, services: Deps) -> LoggedIn:
    user, better = await signin.check_password(services, who, body.email, body.password)
    return await _enter(services, request, response, who, user, better=better, cookie=body.cookie, via="password")


@router.post(
    "/auth/link",
    access=ANY,
    csrf=False,
    body_limit=LOGIN_LIMIT,
    response_model=LoggedIn,
    response_model_exclude_none=True,
)
async def login_by_link(body: Link, request: Request, response: Response, who: Who, services: Deps) -> LoggedIn:
    """The one-time token of `POST /control/v1/login-link`: logs in the oldest enabled admin."""
    if not await services.links.use(body.token):
        raise Problem("invalid-token")
    async with services.db.read() as connection:
        user = await users.oldest_admin(connection)
    if user is None:
        raise Problem("invalid-token")
    return await _enter(services, request, response, who, user, better=None, cookie=True, via="link")


@router.post(
    "/admin/login",
    access=ANY,
    csrf=False,
    body_limit=LOGIN_LIMIT,
    response_model=LoggedIn,
    response_model_exclude_none=True,
)
async def admin_login(body: AdminLogin, request: Request, response: Response, who: Who, services: Deps) -> LoggedIn:
    user, better = await signin.check_password(services, who, body.email, body.password)
    if user.role == "user":
        raise Problem("forbidden", "This account may not enter here.", error="Admin access required")
    return await _enter(services, request, response, who, user, better=better, cookie=True, via="password")


@router.post("/auth/logout", access=AUTH, response_model=Message)
async def logout(request: Request, response: Response, who: Who, services: Deps) -> Message:
    await _end_own(services, who)
    clear_session(request, response)
    return Message(message="Logged out successfully")


@router.post("/admin/logout", access=VIEWER, response_model=Message)
async def admin_logout(request: Request, response: Response, who: Who, services: Deps) -> Message:
    await _end_own(services, who)
    clear_session(request, response)
    return Message(message="Logged out successfully")


@router.post("/auth/logout-all", access=AUTH, response_model=Ended)
async def logout_all(request: Request, response: Response, who: Who, services: Deps) -> Ended:
    _session_only(who)
    async with services.db.transaction() as connection:
        await services.audit.append(connection, who, "user.logout", target=("user", who.user_id), details={"all": True})
        ended = await services.sessions.end_all(who.user_id)
    clear_session(request, response)
    return Ended(message="Logged out everywhere", ended=ended)


@router.get("/auth/sessions", access=AUTH, response_model=SessionList)
async def list_sessions(who: Who, services: Deps) -> SessionList:
    found = await services.sessions.of_user(who.user_id)
    return SessionList(sessions=[_view(session, who) for session in found])


@router.delete("/auth/sessions/{id}", access=AUTH, status_code=204)
async def end_session(id: str, who: Who, services: Deps) -> Response:  # noqa: A002  # the path's own name
    """204 also when it was gone, or was never yours: there is nothing to learn here."""
    if len(id) == 64 and id.isalnum():
        async with services.db.transaction() as connection:
            await services.audit.append(connection, who, "user.logout", target=("session", id))
            await services.sessions.end(id, who.user_id)
    return Response(status_code=204)


@router.put("/auth/password", access=SESSION, body_limit=LOGIN_LIMIT, status_code=204)
async def change_password(body: NewPassword, request: Request, who: Who, services: Deps) -> Response:
    """Every session ends. A cookie's client gets a new one with this answer, a bearer's logs in with the new
    password.
    """
    async with services.db.read() as connection:
        user = await users.by_id(connection, who.user_id)
    if user is None:
        raise Problem("invalid-token")
    await signin.check_password(services, who, user.email, body.current_password)
    if why := signin.acceptable(body.new_password, user.email):
        raise invalid(Detail("/newPassword", why, "password"))
    new_hash = await signin.new_hash(services, body.new_password)
    response = Response(status_code=204)
    async with services.db.transaction() as connection:
        await users.set_password(connection, user.id, new_hash)
        await services.audit.append(connection, who, "user.password_changed", target=("user", user.id))
        await services.sessions.end_all(user.id)
    if who.identity and who.identity.via == "cookie":
        await _enter(services, request, response, who, user, better=None, cookie=True, via="password-change")
    return response


@router.get("/admin/me", access=VIEWER, response_model=AdminMe)
async def admin_me(who: Who, services: Deps) -> AdminMe:
    async with services.db.read() as connection:
        user = await users.by_id(connection, who.user_id)
    if user is None:
        raise Problem("invalid-token")
    session = await services.sessions.get(who.session) if who.session else None
    own = OwnSession(expires_at=session.expires_at, csrf_token=_csrf(services, session)) if session else None
    return AdminMe(user=_user(user), session=own)


async def _enter(
    services: Services,
    request: Request,
    response: Response,
    who: Caller,
    user: UserRow,
    *,
    better: str | None,
    cookie: bool,
    via: str,
) -> LoggedIn:
    agent = request.headers.get("user-agent", "")
    token, session = await signin.log_in(services, who, user, better, user_agent=agent, via=via)
    answer: dict[str, Any] = {"expires_at": session.expires_at, "user": _user(user)}
    if user.must_change_password:
        answer["must_change_password"] = True
    if not cookie:
        return LoggedIn(token=token, **answer)
    set_session(request, response, token, max(1, round((session.expires_at - datetime.now(UTC)).total_seconds())))
    return LoggedIn(csrf_token=_csrf(services, session), **answer)


async def _end_own(services: Services, who: Caller) -> None:
    _session_only(who)
    async with services.db.transaction() as connection:
        await services.audit.append(connection, who, "user.logout", target=("session", who.session))
        await services.sessions.end(who.session, who.user_id)


def _session_only(who: Caller) -> None:
    if not who.session:
        raise Problem("validation-failed", "An API key has no session to end; revoke the key instead.")


def _csrf(services: Services, session: Session) -> str:
    return csrf.token(services.settings.identity_secrets[0], session.sid)


def _user(user: UserRow) -> User:
    return User(id=user.id, email=user.email, role=user.role, tier=user.tier)


def _view(session: Session, who: Caller) -> SessionView:
    return SessionView(
        id=session.sid,
        created_at=session.created_at,
        last_seen_at=session.seen_at,
        expires_at=session.expires_at,
        ip=session.ip,
        user_agent=session.user_agent,
        current=session.sid == who.session,
    )
