"""The tiers document: contract.md §5 as a table of what is accepted, refused, hashed."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import pytest
import yaml

from services.schema.tiers import (
    BUILT_IN,
    MAX_BYTES,
    Policy,
    Tier,
    TiersRefusedError,
    TiersSpec,
    canonical,
    document,
    parse,
    render,
    spec_hash,
)

PRINTED = """
anonymousTier: anonymous
defaultTier: free
tiers:
- {name: anonymous, criticality: sheddable, policies: [{name: anonymous, quota: 100, window: 60}]}
- name: free
  criticality: sheddable-plus
  policies: [{name: free, quota: 1000, window: 60}, {name: free-burst, quota: 500, window: 1}]
- name: pro
  criticality: critical
  policies: [{name: pro, quota: 10000, window: 60}, {name: pro-burst, quota: 2000, window: 1}]
- name: enterprise
  criticality: critical-plus
  policies: [{name: enterprise, quota: 100000, window: 60}, {name: enterprise-burst, quota: 10000, window: 1}]
routes:
- {match: "POST /api/v1/auth/login", cost: 0, criticality: critical,
   policy: {name: login-ip, quota: 20, window: 60, onStoreFailure: closed}}
- {match: "POST /api/v1/admin/login", cost: 0, criticality: critical,
   policy: {name: login-ip, quota: 20, window: 60, onStoreFailure: closed}}
- {match: "GET /api/v1/external", cost: 2}
- {match: "GET /api/v1/admin/logs", cost: 10, criticality: sheddable}
- {match: "* /api/v1/admin/*", criticality: critical-plus}
credentialFailures: {name: credential-ip, quota: 30, window: 60, onStoreFailure: closed}
breaker: {failureThreshold: 5, openSeconds: 30, halfOpenSuccesses: 3, halfOpenConcurrency: 1, windowSeconds: 10,
  minimumCalls: 20, failureRatio: 0.5, slowCallSeconds: 5, slowCallRatio: 0.8, maxOpenSeconds: 300,
  maxEjectedPercent: 50}
"""


def written(change: Any = None, revision: Any = 7, **top: Any) -> bytes:
    """The printed document with `change` applied to its spec, hashed as anybody would."""
    spec = yaml.safe_load(PRINTED)
    if change:
        change(spec)
    text = json.dumps(spec, sort_keys=True, separators=(",", ":")).replace("1.0,", "1,")
    whole = {"apiVersion": "scalableapi.io/v1", "kind": "Tiers", "revision": revision}
    whole |= {"hash": "sha256:" + sha256(text.encode()).hexdigest(), "spec": spec} | top
    return json.dumps(whole).encode()


def test_the_built_in_document_is_the_printed_one():
    """contract.md §5 word for word, revision 0; the algorithm's default depends on the window."""
    assert parse(written()).spec == BUILT_IN.spec
    assert BUILT_IN.revision == 0
    assert [p.algorithm for p in BUILT_IN.spec.tiers[1].policies] == ["sliding", "gcra"]


def test_render_and_parse_are_inverse():
    """Also for what has optional members, and the hash stays."""
    spec = TiersSpec(
        tiers=(
            Tier(
                name="anonymous",
                criticality="sheddable",
                concurrency=3,
                policies=(Policy(name="a", quota=1, window=1),),
            ),
            Tier(name="free", criticality="critical", policies=(Policy(name="b", quota=9, window=2, mode="off"),)),
        ),
        routes=(),
    )
    made = document(3, spec)
    assert parse(render(made)) == made
    assert made.hash == spec_hash(spec)
    assert b"mode: 'off'" in render(made)


def test_the_hash_is_of_the_spec_as_it_is_written():
    """Sorted names, no spaces, 1 for 1.0: the same whatever the order, and of defaults that were left out."""
    assert canonical({"b": 1.0, "a": [0.5, {"é": 2}]}) == '{"a":[0.5,{"é":2}],"b":1}'.encode()
    full = parse(render(document(7, BUILT_IN.spec)))
    short = parse(written())
    assert (short.spec, short.hash != full.hash) == (full.spec, True)
    ratio = written(lambda s: s["breaker"].update(failureRatio=1.0))
    assert parse(ratio).spec.breaker.failure_ratio == 1


def tier(number: int, **members: Any) -> Any:
    return lambda spec: spec["tiers"][number].update(members)


def policy(**members: Any) -> Any:
    return lambda spec: spec["tiers"][0]["policies"][0].update(members)


def route(**members: Any) -> Any:
    return lambda spec: spec["routes"].insert(0, {"match": "GET /x", **members})


MANY = [{"name": f"p{n}", "quota": 100, "window": 60} for n in range(9)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.pop("tiers"), "spec.tiers: is missing"),
        (lambda s: s.update(tiers=[]), "spec.tiers: [] is refused; expected at least 1 entries"),
        (lambda s: s.update(extra=1), "spec.extra: is not a field here"),
        (lambda s: s.update(anonymousTier="no"), "anonymousTier: no tier is named 'no'; write one of anonymous"),
        (lambda s: s.update(defaultTier="fre"), "defaultTier: no tier is named 'fre'"),
        (tier(1, name="anonymous"), "'anonymous' is defined twice"),
        (tier(0, name="Anonymous"), "spec.tiers[0].name: 'Anonymous' is refused"),
        (tier(0, name="a" * 33), "expected at most 32 characters"),
        (tier(0, criticality="high"), "expected one of sheddable, sheddable-plus, critical, critical-plus"),
        (tier(0, concurrency=0), "spec.tiers[0].concurrency: 0 is refused; expected at least 1"),
        (tier(0, policies=[]), "spec.tiers[0].policies: [] is refused"),
        (tier(0, policies=MANY), "at most 8 entries"),
        (tier(0, policies=MANY[:5]), "more than 4 policies of mode enforce; keep 4"),
        (tier(0, policies=[p | {"mode": "shadow"} for p in MANY[:5]]), "more than 4 policies of mode shadow"),
        (policy(quota=0), "spec.tiers[0].policies[0].quota: 0 is refused; expected at least 1"),
        (policy(quota=1_000_000_001), "expected at most 1000000000"),
        (policy(quota="100"), "'100' is refused; expected a whole number"),
        (policy(quota=100.0), "expected a whole number"),
        (policy(window=0), "spec.tiers[0].policies[0].window: 0 is refused"),
        (policy(window=86_401), "expected at most 86400"),
        (policy(quota=1_000_000_000, window=86_400), "cannot be counted exactly; their product is at most 9007199254740"),
        (policy(algorithm="calendar"), "counts UTC days; write window: 86400"),
        (policy(algorithm="log", quota=1001), "quota at most 1000"),
        (policy(algorithm="fixed"), "expected one of sliding, gcra, calendar, log"),
        (policy(mode="on"), "expected one of enforce, shadow, off"),
        (policy(onStoreFailure="ignore"), "expected one of local, open, closed"),
        (policy(on_store_failure="open"), "did you mean 'onStoreFailure'?"),
        (policy(name="free"), "tiers[1].policies[0].name: 'free' is the name of tiers[0].policies[0] too"),
        (policy(name="override-burst"), "is taken by the limiter itself"),
        (route(policy={"name": "login-ip", "quota": 21, "window": 60}), "is the name of routes[0].policy too"),
        (route(policy={"name": "credential-ip", "quota": 30, "window": 60}), "credentialFailures.name: 'cred"),
        (route(cost=101), "routes[0].cost: 101 is above quota 100 of 'anonymous'; lower it"),
        (route(cost=3, policy={"name": "own", "quota": 2, "window": 9}), "above quota 2 of 'own'"),
        (route(cost=1001), "expected at most 1000"),
        (route(match="GET"), "begins with /"),
        (route(match="get /x"), "begins with a method in capitals"),
        (route(match="GET x/y"), "begins with /"),
        (route(match="GET /a/*/b"), "* stands only for the whole tail"),
        (route(match="GET /a{x}"), "is neither text nor {name}"),
        (route(match="GET /a b"), "begins with /"),
        (lambda s: s["breaker"].update(openSeconds=301), "openSeconds 301 is above maxOpenSeconds 300"),
        (lambda s: s["breaker"].update(failureRatio=0), "spec.breaker.failureRatio: 0 is refused"),
        (lambda s: s["breaker"].update(failureThreshold=True), "true is refused; expected a whole number"),
    ],
)  # fmt: skip
def test_refused(change, said):
    """Each bound and rule, with the field's name and what would be right."""
    with pytest.raises(TiersRefusedError) as error:
        parse(written(change))
    assert any(said in text for text in error.value.errors), error.value.errors


@pytest.mark.parametrize(
    "change",
    [
        tier(0, concurrency=100_000),
        tier(0, policies=[p | {"mode": "shadow" if n < 4 else "enforce"} for n, p in enumerate(MANY[:8])]),
        policy(algorithm="log", quota=1000),
        policy(algorithm="calendar", window=86_400),
        policy(quota=104_249_991, window=86_400),
        policy(mode="off"),
        route(match="* /{tail}/x/{id}/*"),
        route(match="* /"),
        route(cost=100),
        route(cost=30, policy={"name": "own", "quota": 2, "window": 9, "mode": "off"}),
        lambda s: s["breaker"].update(failureThreshold=0, openSeconds=300),
        lambda s: s.pop("routes"),
    ],
)
def test_accepted(change):
    """Each bound itself."""
    assert parse(written(change)).revision == 7


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (written(revision=-1), "revision: -1 is refused"),
        (written(revision="7"), "expected a whole number"),
        (written(kind="Tier"), "expected one of Tiers; did you mean 'Tiers'?"),
        (written(hash="sha256:" + "0" * 64), "hash: is not that of spec; expected sha256:"),
        (written(hash="md5:1"), "hash: 'md5:1' is refused"),
        (b"7", "expected an object"),
        (b"a: 1\na: 2", "line 2, column 1: 'a' stands twice"),
        (b"#" * (MAX_BYTES + 1), "at most 65536"),
    ],
)
def test_refused_as_a_whole(raw, said):
    """The envelope: revision, kind, hash, size, syntax."""
    with pytest.raises(TiersRefusedError) as error:
        parse(raw)
    assert said in str(error.value)
