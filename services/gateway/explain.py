"""What would happen to a request, and why: `POST /control/v1/explain`, the gateway's part of contract.md 1.6's explain.

Collects the findings of all stages, past the first refusal, by the same functions the stages decide with; `limit`
asks Redis in mode `peek`, so nothing is spent. The caller is named, not authenticated: a key's id, an identifier or
an address. The api, which knows users, passes `tier` for `user:` identifiers; without it a session in the cache or
the default tier stands in, and `tierSource` says so.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Annotated, Any, Final, Protocol

from pydantic import Field

from services.core.criticality import CRITICALITIES, under_overload
from services.core.identity import network_identifier
from services.core.problems import PROBLEMS
from services.core.verdicts import Refusal
from services.gateway.balancers import Balancers
from services.gateway.identity import Identity
from services.gateway.keys import key_identity
from services.gateway.limiter import Limiter
from services.gateway.routing import RouteRecord, RouteTable
from services.gateway.stages import authenticate, forward, limit, own, route
from services.gateway.stages.shed import Shed
from services.gateway.tier_book import TierBook
from services.http1.target import normalise
from services.runtime.control import ControlModel
from services.runtime.gateway_store import KeyRow, StoreAwayError

UNKNOWN_ADDRESS: Final = "192.0.2.1"  # TEST-NET-1: nobody's


class ExplainRequest(ControlModel):
    method: Annotated[str, Field(pattern=r"^[A-Z]{1,16}$")]
    path: Annotated[str, Field(min_length=1, max_length=8192)]
    identifier: Annotated[str, Field(pattern=r"^(key|user|ip):", max_length=200)] | None = None
    api_key_id: Annotated[str, Field(max_length=32)] | None = None
    ip: Annotated[str, Field(max_length=64)] | None = None
    cost: Annotated[int, Field(ge=0, le=1000)] | None = None
    tier: Annotated[str, Field(max_length=32)] | None = None  # of a user, from whoever knows users


class KeyRows(Protocol):
    async def key(self, key_id: str) -> KeyRow | None: ...


@dataclass(frozen=True, slots=True)
class View:
    """What the stages work with."""

    table: RouteTable
    book: TierBook
    limiter: Limiter
    balancers: Balancers
    store: KeyRows
    anonymous: Any  # (address) -> Identity
    public_ops: bool
    instance: str
    shed: Shed


async def explain(view: View, asked: ExplainRequest) -> dict[str, Any]:
    path = normalise(asked.path.partition("?")[0].encode("utf-8", "replace"))
    if isinstance(path, str):
        return _verdict(view, {"request": {"route": None}}, [("route", Refusal("bad-request", path))])
    record = view.table.record(asked.method.encode(), path[0])
    identity, missing = await _identity(view, asked)
    address = _address(asked)
    now = time.monotonic()
    cost = record.cost if asked.cost is None else asked.cost
    limits = await limit.explain(view.limiter, limit.Asked(identity, address, cost, record.policy), now)
    criticality = _class(view, record, identity)
    shed = view.shed.decide(under_overload(criticality, slow=record.slow), identity.identifier, now)
    findings = [
        ("route", route.decide(record)),
        ("shed", shed),
        (
            "authenticate",
            missing or (view.limiter.blocked(network_identifier(address)) if asked.api_key_id else None),
        ),
        ("own", own.decide(identity, public=view.public_ops) if record.ops else None),
        ("limit", limits["refusal"]),
        ("forward", forward.decide(view.balancers, now)),
    ]
    body = {
        "request": _request(record, criticality, cost),
        "identity": _who(view, identity),
        "override": limits["override"],
        "policies": limits["policies"],
        "shedding": {"level": view.shed.level, "wouldShed": shed is not None},
        "upstream": _upstream(view, findings[-1][1]),
    }
    return _verdict(view, body, findings)


async def _identity(view: View, asked: ExplainRequest) -> tuple[Identity, Refusal | None]:
    """The identity meant; a refusal if its credential would not be taken."""
    kind, _, name = (asked.identifier or "").partition(":")
    key_id = asked.api_key_id or (name if kind == "key" else "")
    if key_id:
        return await _key(view, key_id)
    if kind == "user":
        identity = Identity(f"user:{name}", asked.tier or view.book.default, "user" if asked.tier else "default")
        identity.owner = identity.identifier
        return identity, None
    return view.anonymous(_address(asked)), None


async def _key(view: View, key_id: str) -> tuple[Identity, Refusal | None]:
    try:
        row = await view.store.key(key_id)
    except StoreAwayError:
        return Identity(f"key:{key_id}", view.book.default, "default"), authenticate.NO_POSTGRES
    if row is None:
        return Identity(f"key:{key_id}", view.book.default, "default"), authenticate.BAD_KEY
    over = row.revoked or row.disabled or (row.seconds_left is not None and row.seconds_left <= 0)
    return key_identity(row, time.monotonic()), authenticate.BAD_KEY if over else None


def _address(asked: ExplainRequest) -> str:
    kind, _, name = (asked.identifier or "").partition(":")
    return asked.ip or (name.partition("/")[0] if kind == "ip" else UNKNOWN_ADDRESS)


def _class(view: View, record: RouteRecord, identity: Identity) -> int:
    own_class = record.criticality
    return own_class if own_class is not None else view.book.criticality(identity.tier)


def _request(record: RouteRecord, criticality: int, cost: int) -> dict[str, Any]:
    return {
        "route": record.template,
        "class": "slow" if record.slow else "normal",
        "criticality": CRITICALITIES[criticality],
        "cost": cost,
    }


def _who(view: View, identity: Identity) -> dict[str, Any]:
    known = view.book.known(identity.tier)
    source = identity.tier_source if known == identity.tier else "default"
    scopes = list(identity.claims.scp) if identity.claims else []
    return {
        "identifier": identity.identifier,
        "tier": known,
        "tierSource": source,
        "scopes": scopes,
    }


def _upstream(view: View, refusal: Refusal | None) -> dict[str, Any]:
    endpoints = [{"id": state.id, "state": state.state, "breaker": None} for state in view.balancers.states()]
    return {"endpoints": endpoints, "verdict": "reject" if refusal else "admit"}


def _verdict(view: View, body: dict[str, Any], findings: list[tuple[str, Refusal | None]]) -> dict[str, Any]:
    document = view.limiter.sets.document
    first = next(((stage, refusal) for stage, refusal in findings if refusal is not None), None)
    verdict: dict[str, Any] = {
        "outcome": "admit",
        "stage": None,
        "status": None,
        "type": None,
        "reason": None,
        "retryAfter": None,
    }
    if first is not None:
        stage, refusal = first
        told = {"type": refusal.slug, "reason": refusal.reason, "retryAfter": refusal.retry_after_s}
        verdict = {"outcome": "reject", "stage": stage, "status": PROBLEMS[refusal.slug].status, **told}
    return body | {
        "findings": [_finding(stage, refusal) for stage, refusal in findings],
        "verdict": verdict,
        "tiers": {"revision": document.revision, "hash": document.hash},
        "answeredBy": view.instance,
    }


def _finding(stage: str, refusal: Refusal | None) -> dict[str, Any]:
    return {
        "stage": stage,
        "verdict": "admit" if refusal is None else "reject",
        "reason": refusal.reason if refusal else None,
    }
