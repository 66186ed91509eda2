"""How this process's cache, external dependency and fleet view are made from the settings; called by app.py."""

from __future__ import annotations

from random import random

from redis.asyncio import Redis

from services.api.breakers import Breakers
from services.api.cache import Cache, Namespace
from services.api.external import External
from services.api.external.behaviour import BehaviourStore
from services.api.fleet.collection import Fleet
from services.core.breaker import BreakerConfig
from services.runtime.process import Runtime
from services.runtime.settings import ApiSettings


def make_cache(settings: ApiSettings, redis: Redis, runtime: Runtime[ApiSettings]) -> Cache:
    stale_s = float(settings.cache_stale_seconds)
    return Cache(
        redis,
        (
            Namespace("resources", settings.cache_ttl, stale_s),
            Namespace("lists", settings.api_response_ttl, stale_s),
            Namespace("users", settings.user_profile_ttl, stale_s),
            Namespace("external", 0, stale_s),
        ),
        max_items=settings.cache_l1_max_items,
        max_bytes=settings.cache_max_memory,
        l1_ttl_s=settings.cache_l1_ttl_ms / 1000,
        draw=lambda: 1.0 - random(),  # noqa: S311  # spreads lifetimes
        metrics=runtime.metrics,
        url=settings.redis_url,
    )


def make_external(settings: ApiSettings, redis: Redis, cache: Cache, runtime: Runtime[ApiSettings]) -> External:
    open_s = settings.circuit_reset_timeout / 1000
    config = BreakerConfig(
        failure_threshold=settings.circuit_failure_threshold,
        open_s=open_s,
        max_open_s=max(open_s, BreakerConfig().max_open_s),
    )
    breakers = Breakers(runtime.metrics, runtime.events)
    return External(
        settings.external_url, behaviour=BehaviourStore(redis), cache=cache, breakers=breakers, config=config
    )


def make_fleet(settings: ApiSettings) -> Fleet:
    return Fleet(settings.fleet, settings.control_token)
