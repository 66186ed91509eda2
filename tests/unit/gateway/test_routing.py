from __future__ import annotations

import pytest

from services.gateway.routing import KEPT, RouteTable, Rule
from services.runtime.metrics import Metrics
from services.schema.tiers import BUILT_IN, Policy, RouteRule, document
from tests.unit.gateway.doubles import table


def with_routes(*rules: RouteRule):
    spec = BUILT_IN.spec.model_copy(update={"routes": (*rules, *BUILT_IN.spec.routes)})
    return table(document(1, spec))


def rule(match: str, **more) -> Rule:
    return Rule(RouteRule(match=match, **more))


def test_templates_costs_and_policies_of_the_built_in_document():
    """Each route has what the contract's document says, first match wins."""
    routes = table()
    login = routes.record(b"POST", b"/api/v1/auth/login")
    assert (login.cost, login.criticality, login.slow, login.body_limit) == (0, 2, True, 4096)
    assert login.policy is not None
    assert login.policy.name == "login-ip"
    assert routes.record(b"GET", b"/api/v1/external").cost == 2
    admin = routes.record(b"GET", b"/api/v1/admin/metrics")
    assert (admin.cost, admin.criticality) == (1, 3)
    plain = routes.record(b"GET", b"/api/v1/resources/7")
    assert (plain.template, plain.cost, plain.criticality) == ("/api/v1/resources/{id}", 1, None)
    assert routes.record(b"GET", b"/api/v1/me").tells_limit


def test_head_counts_like_get():
    """A rule for GET is one for HEAD."""
    assert table().record(b"HEAD", b"/api/v1/external").cost == 2


def test_exempt_routes():
    """Health, docs, dashboard files and logout cost nothing; files are critical-plus."""
    routes = table()
    for method, path in [
        (b"GET", b"/health"),
        (b"GET", b"/api/docs"),
        (b"POST", b"/api/v1/auth/logout"),
        (b"GET", b"/"),
    ]:
        assert routes.record(method, path).cost == 0, path
    assert routes.record(b"POST", b"/api/v1/admin/logout").cost == 0
    assert routes.record(b"GET", b"/assets/app.js").criticality == 3
    assert routes.record(b"GET", b"/nowhere").cost == 1


def test_a_wrong_method_is_405_with_allow():
    """A known template with another method; OPTIONS is not wrong."""
    refusal = table().record(b"DELETE", b"/api/v1/status").refusal
    assert refusal is not None
    assert refusal.slug == "method-not-allowed"
    assert refusal.headers == (b"Allow: GET, HEAD, OPTIONS\r\n",)
    assert refusal.facts["allow"] == ("GET", "HEAD", "OPTIONS")
    assert table().record(b"OPTIONS", b"/api/v1/status").refusal is None
    assert table().record(b"DELETE", b"/nowhere").refusal is None


def test_operators_and_health_paths_are_marked():
    """`/metrics` and `/lb/status` want an identity, health paths are answered here."""
    routes = table()
    assert routes.record(b"GET", b"/metrics").ops
    assert routes.record(b"GET", b"/lb/status").ops
    assert routes.record(b"GET", b"/ready").health


def test_a_rule_narrower_than_a_template_is_matched_per_path():
    """`GET /api/v1/resources/7` concerns that path only."""
    routes = with_routes(RouteRule(match="GET /api/v1/resources/7", cost=9))
    assert routes.record(b"GET", b"/api/v1/resources/7").cost == 9
    assert routes.record(b"GET", b"/api/v1/resources/8").cost == 1
    assert routes.record(b"PATCH", b"/api/v1/resources/7").refusal is not None


def test_rules_reach_paths_without_a_template():
    """An unknown path has the label `other` and whatever rule matches it."""
    routes = with_routes(RouteRule(match="* /reports/*", cost=5, criticality="sheddable"))
    found = routes.record(b"GET", b"/reports/2026/1")
    assert (found.template, found.cost, found.criticality) == ("other", 5, 0)


def test_a_policy_that_is_off_is_absent():
    """mode off = no policy."""
    off = Policy(name="own", quota=5, window=60, mode="off")
    assert (
        with_routes(RouteRule(match="GET /api/v1/status", policy=off)).record(b"GET", b"/api/v1/status").policy is None
    )


def test_a_new_document_replaces_the_old_one():
    """Records are swapped whole; what was remembered per path goes too."""
    routes = table()
    assert routes.record(b"GET", b"/api/v1/status").cost == 1
    spec = BUILT_IN.spec.model_copy(update={"routes": (RouteRule(match="GET /api/v1/status", cost=3),)})
    routes.use(document(1, spec))
    assert routes.record(b"GET", b"/api/v1/status").cost == 3


@pytest.mark.parametrize(
    ("match", "template", "covers", "narrower"),
    [
        ("* /a/*", "/a/{id}", True, False),
        ("* /a/*", "/a", False, False),
        ("GET /a/{x}", "/a/{id}", True, False),
        ("GET /a/7", "/a/{id}", False, True),
        ("GET /a/7/b", "/a/{id}", False, False),
        ("GET /b/{x}", "/a/{id}", False, False),
        ("POST /a/{x}", "/a/{id}", False, False),
    ],
)
def test_rules_and_templates(match, template, covers, narrower):
    """Whether a rule concerns all, some or none of a template's paths."""
    one = rule(match)
    assert one.covers(b"GET", template) is covers
    assert one.narrower(template) is narrower


def test_old_fault_13a_paths_and_methods_add_no_series():
    """10 000 unknown paths, and wrong methods on known ones, share the series of `other`."""
    metrics = Metrics("gateway", "1")
    counter = metrics.counter("http_requests_total", "R", ("method", "route", "status"))
    routes = RouteTable(counter, metrics.histogram("http_request_duration_seconds", "D", ("method", "route")), 1 << 20)
    routes.use(BUILT_IN)
    for number in range(10_000):
        routes.record(b"GET", b"/%d" % number).meter.count(404, 0.001)
        routes.record(b"M%d" % number, b"/x").meter.count(501, 0.001)
    routes.record(b"DELETE", b"/api/v1/status").meter.count(405, 0.001)
    assert {key for key, _ in counter.items()} == {
        ("GET", "other", "404"),
        ("_OTHER", "other", "501"),
        ("DELETE", "other", "405"),
    }
    assert len(routes._kept) <= KEPT


def test_old_fault_13d_methods_of_a_route_stay_apart():
    """GET and POST of one route have series of their own."""
    routes = table()
    get, post = (routes.record(method, b"/api/v1/resources").meter for method in (b"GET", b"POST"))
    get.count(200, 0.1)
    post.count(201, 0.2)
    assert (get.statuses[200].n, post.statuses[201].n) == (1, 1)
    assert get.durations is not post.durations
