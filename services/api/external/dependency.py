"""Calls to the external dependency, by the breaker `external-service`; a good answer is kept and stands in for later
failures.

The ladder of data-path.md section 9: call through the breaker, else the last good answer (at most CACHE_STALE_SECONDS
old), else the failure. It has neither connect backoff nor endpoint state, so a failed connect counts as a failure
here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import random
from time import monotonic
from typing import Any, Final

import httpx
import msgspec

from services.api.breakers import Breakers
from services.api.cache import Cache, Fetched, Found
from services.api.external.behaviour import Behaviour, BehaviourStore
from services.core.breaker import FAULT, NO_VERDICT, OPEN, REFUSED, STATE_NAMES, STATUS_FAILURE, SUCCESS, BreakerConfig

NAME: Final = "external-service"
NAMESPACE: Final = "external"
TIMEOUT_S: Final = 5.0  # the breaker's slowCallSeconds: what takes longer is no answer
BODY_MAX: Final = 65_536


@dataclass(frozen=True, slots=True)
class Refused:
    """The breaker is open, and nothing stands in."""

    state: str
    retry_after_s: int


@dataclass(frozen=True, slots=True)
class Failed:
    """The call failed, and nothing stands in."""


class CallError(Exception):
    """No usable answer; `timed_out`: none in time."""

    def __init__(self, *, timed_out: bool = False) -> None:
        super().__init__("timed out" if timed_out else "failed")
        self.timed_out = timed_out


class External:
    """`url` None: the simulator. `draw` gives numbers in [0, 1)."""

    def __init__(
        self,
        url: str | None,
        *,
        behaviour: BehaviourStore,
        cache: Cache,
        breakers: Breakers,
        config: BreakerConfig,
        draw: Callable[[], float] = random,
    ) -> None:
        self._url = url
        self.behaviour = behaviour
        self._cache = cache
        self.breakers = breakers
        self._breaker = breakers.add(NAME, config)
        self._draw = draw
        self._http: httpx.AsyncClient | None = None

    async def start(self) -> None:
        if self._url is not None:
            self._http = httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False)

    async def close(self) -> None:
        if self._http is not None:
            await self._http.aclose()

    @property
    def state(self) -> int:
        """The breaker's state, CLOSED, HALF_OPEN or OPEN."""
        self._breaker.expire(monotonic())
        return self._breaker.state

    async def get(self) -> Found | Refused | Failed:
        """The dependency's data as JSON, from it or the last good one."""
        now = monotonic()
        permit = self._breaker.admit(now)
        if permit == REFUSED:
            self.breakers.count(NAME, "rejected")
            return await self._stand_in() or Refused(STATE_NAMES[self._breaker.state], self._retry_after(now))
        body = await self._try(permit)
        if body is None:
            return await self._stand_in() or Failed()
        return await self._cache.remember(NAMESPACE, (), Fetched(body))

    async def _try(self, permit: int) -> bytes | None:
        """One admitted call; whatever becomes of it, its permit is given back."""
        began = monotonic()
        outcome, result = NO_VERDICT, ""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                body = await (self._call() if self._http else self._simulate())
            outcome, result = SUCCESS, "success"
        except (TimeoutError, CallError) as error:
            late = isinstance(error, TimeoutError) or error.timed_out
            outcome, result = (FAULT, "timeout") if late else (STATUS_FAILURE, "failure")
            return None
        else:
            return body
        finally:
            now = monotonic()
            self._breaker.record(permit, outcome, now, self._draw(), now - began)
            if result:
                self.breakers.count(NAME, result)

    async def _call(self) -> bytes:
        assert self._http is not None  # noqa: S101  # chosen by the caller
        assert self._url is not None  # noqa: S101
        try:
            answer = await self._http.get(self._url)
        except httpx.TimeoutException:
            raise CallError(timed_out=True) from None
        except httpx.HTTPError:
            raise CallError from None
        if answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR or len(answer.content) > BODY_MAX:
            raise CallError
        try:
            return msgspec.json.encode(msgspec.json.decode(answer.content))
        except msgspec.DecodeError:
            return msgspec.json.encode(answer.text)

    async def _simulate(self) -> bytes:
        behaviour = await self.behaviour.read()
        if behaviour.hang:
            await asyncio.sleep(2 * TIMEOUT_S)
        latency_ms = self._draw() * behaviour.latency_ms
        await asyncio.sleep(latency_ms / 1000)
        if self._draw() < behaviour.failure_rate:
            raise CallError
        return msgspec.json.encode(simulated(behaviour, latency_ms))

    async def _stand_in(self) -> Found | None:
        return await self._cache.last_good(NAMESPACE, ())

    def _retry_after(self, now: float) -> int:
        """Whole seconds until it may be asked again, 1…30."""
        wait_s = self._breaker.until - now if self._breaker.state == OPEN else 1.0
        return max(1, min(30, int(wait_s) + 1))


def simulated(behaviour: Behaviour, latency_ms: float) -> dict[str, Any]:
    """What the simulator says: enough to see that it was asked."""
    return {"source": "simulator", "latencyMs": round(latency_ms, 1), "failureRate": behaviour.failure_rate}
