from __future__ import annotations

from datetime import UTC, datetime, timedelta

from services.api.notices import Notices
from services.api.sessions import TOUCH_S, TOUCHED_MAX, Session, Sessions, SessionUser, decode, encode
from services.runtime.redis import connect

NOW = datetime(2026, 11, 24, 3, 0, 0, tzinfo=UTC)
SESSION = Session(
    "s1", SessionUser("u1", "a@b.c", "user", "free"), NOW, NOW, NOW + timedelta(hours=24), "192.0.2.1", "curl"
)


def sessions() -> Sessions:
    redis = connect("redis://127.0.0.1:1/0")
    return Sessions(redis, Notices(redis), life_s=86_400, idle_s=28_800)


def test_encoding() -> None:
    """What the gateway reads is what the api wrote, members as contract.md 4 names them."""
    assert decode(encode(SESSION).encode()) == SESSION
    for name in ('"sid": "s1"', '"user": "u1"', '"role": "user"', '"expiresAt": "2026-11-25T03:00:00.000Z"'):
        assert name in encode(SESSION)


def test_idle_and_absolute_end() -> None:
    """The earlier one; never so short that Redis would refuse it."""
    made = sessions()
    assert made._px(SESSION, NOW) == 28_800_000
    assert made._px(SESSION, NOW + timedelta(hours=20)) == 4 * 3_600_000
    assert made._px(SESSION, NOW + timedelta(hours=25)) == 1


async def test_touch_once_a_minute(monkeypatch: object) -> None:
    """However many requests come; what is remembered about it is bounded; Redis away is nobody's error."""
    made = sessions()
    seen: list[str] = []

    async def record(sid: str) -> None:
        seen.append(sid)

    await made._seen("s0")
    made._seen = record  # type: ignore[method-assign]
    for at in (0.0, 1.0, TOUCH_S - 1, TOUCH_S, TOUCH_S + 1):
        made.touch("s1", at)
    for n in range(10):
        made._touched[f"x{n}"] = 0.0
    await made._seen("end")
    assert seen.count("s1") <= 2
    assert len(made._touched) < TOUCHED_MAX
