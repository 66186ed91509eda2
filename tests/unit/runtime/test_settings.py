from __future__ import annotations

import base64
import ipaddress
from pathlib import Path

import pytest

from services.runtime.settings import (
    ApiSettings,
    BalancerSettings,
    ControllerSettings,
    GatewaySettings,
    SettingsError,
    is_loopback,
    load,
    retired,
)

SECRET = base64.b64encode(bytes(range(32))).decode()
TOKEN = "control-token-of-32-characters--"
BALANCER = {"CONTROL_TOKEN": TOKEN}
GATEWAY = BALANCER | {
    "IDENTITY_SECRETS": SECRET,
    "API_KEY_PEPPERS": f"2:{SECRET},1:{SECRET}",
    "DATABASE_URL": "postgresql://scalable_gateway@localhost/scalable_api",
}


def complaint(kind, environ) -> str:
    with pytest.raises(SettingsError) as caught:
        load(kind, environ)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_defaults_are_the_contracts():
    """Without anything but the required settings, each process has the contract's defaults."""
    gateway = load(GatewaySettings, GATEWAY)
    assert (gateway.component, gateway.gateway_port, gateway.control_port) == ("gateway", 8080, 9180)
    assert gateway.balancers == ("http://localhost:3000",)
    assert (gateway.limiter_timeout_ms, gateway.request_timeout_ms, gateway.max_body_bytes) == (20, 30_000, 10 << 20)
    assert gateway.redis_url == "redis://localhost:6379/0"
    assert gateway.tiers_file is None
    balancer = load(BalancerSettings, BALANCER)
    assert len(balancer.api_servers) == 3
    assert balancer.lb_policy == "p2c"


def test_where_spans_go():
    """A URL or nothing; a share of all traces that begin here."""
    assert load(BalancerSettings, BALANCER).otel_exporter_otlp_endpoint is None
    assert load(GatewaySettings, GATEWAY).trace_sample == 0.01
    wrong = complaint(BalancerSettings, BALANCER | {"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"})
    assert wrong.startswith("OTEL_EXPORTER_OTLP_ENDPOINT=")
    assert "http://collector:4318" in wrong
    assert complaint(GatewaySettings, GATEWAY | {"TRACE_SAMPLE": "1.5"}).startswith("TRACE_SAMPLE=1.5")


def test_the_prefix_wins_and_a_file_may_hold_the_value(tmp_path: Path):
    """SCALABLE_NAME beats NAME; NAME_FILE names a file whose trimmed text is the value, and NAME beats it."""
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    assert load(BalancerSettings, {"CONTROL_TOKEN_FILE": str(file)}).control_token == TOKEN
    both = {"CONTROL_TOKEN_FILE": str(file), "LB_PORT": "1", "SCALABLE_LB_PORT": "2"}
    assert load(BalancerSettings, both).lb_port == 2
    named = {"CONTROL_TOKEN": "another-token-long-enough", "CONTROL_TOKEN_FILE": str(file)}
    assert load(BalancerSettings, named).control_token == "another-token-long-enough"
    assert load(BalancerSettings, {"SCALABLE_CONTROL_TOKEN_FILE": str(file)}).control_token == TOKEN


def test_prometheus_servers_are_names_with_addresses():
    """NAME=URL pairs; a name twice, an address without its scheme, a name a manifest could not write are refused."""
    token = {"CONTROL_TOKEN": TOKEN}
    found = load(ControllerSettings, token | {"PROMETHEUS_SERVERS": "default=http://p:9090, eu-1=https://q/prom"})
    assert found.prometheus_servers == {"default": "http://p:9090", "eu-1": "https://q/prom"}
    assert load(ControllerSettings, token).prometheus_servers == {}
    for wrong in ("http://p:9090", "default=p:9090", "Default=http://p", "a=http://p,a=http://q"):
        assert "PROMETHEUS_SERVERS" in complaint(ControllerSettings, token | {"PROMETHEUS_SERVERS": wrong})


def test_an_unknown_prefixed_name_is_refused():
    """A typing error in a SCALABLE_ name stops the process; settings of another process do not."""
    assert "SCALABLE_LB_PROT" in complaint(BalancerSettings, BALANCER | {"SCALABLE_LB_PROT": "1"})
    assert load(BalancerSettings, BALANCER | {"SCALABLE_GATEWAY_PORT": "1"}).lb_port == 3000


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("LB_PORT", "70000", "LB_PORT=70000: "),
        ("LB_PORT", "abc", "LB_PORT=abc: "),
        ("LB_POLICY", "fastest", "LB_POLICY=fastest: "),
        ("INSTANCE_ID", "a b", "INSTANCE_ID=a b: "),
        ("CONTROL_TOKEN", "admin-token-dev", "CONTROL_TOKEN=***: is a known default"),
        ("CONTROL_TOKEN", "short", "CONTROL_TOKEN=***: needs at least 16"),
        ("CONTROL_TOKEN_FILE", "/nowhere/token", "CONTROL_TOKEN_FILE=/nowhere/token: "),
    ],
)
def test_a_bad_value_is_one_line_that_names_it(name, value, says):
    """Name, value and rule in one line; a secret's value is never shown."""
    environ = {name: value} if name.startswith("CONTROL_TOKEN") else BALANCER | {name: value}
    text = complaint(BalancerSettings, environ)
    assert text.startswith(says)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("IDENTITY_SECRETS", "c2hvcnQ=", "at least 32 random bytes"),
        ("IDENTITY_SECRETS", base64.b64encode(bytes(32)).decode(), "at least 32 random bytes"),
        ("IDENTITY_SECRETS", "not base64!", "must be base64"),
        ("API_KEY_PEPPERS", SECRET, "NUMBER:BASE64"),
        ("API_KEY_PEPPERS", f"1:{SECRET},1:{SECRET}", "twice"),
        ("TRUSTED_PROXIES", "10.0.0.0/99", "TRUSTED_PROXIES=10.0.0.0/99"),
        ("CORS_ORIGINS", "*,https://a.example", "only alone"),
        ("CORS_ORIGINS", "a.example", "not an origin"),
        ("REDIS_URL", "http://x", "REDIS_URL must begin"),
        ("REDIS_URL", "rediss://x", "REDIS_URL must begin"),
        ("DATABASE_URL", "mysql://x", "DATABASE_URL must begin"),
    ],
)
def test_the_gateways_rules(name, value, says):
    """Secrets have to be long and random, lists have to parse, URLs have to be ones this process can use."""
    assert says in complaint(GatewaySettings, GATEWAY | {name: value})


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("API_SERVERS", BalancerSettings),
        ("BALANCERS", GatewaySettings),
        ("GATEWAY_PEERS", GatewaySettings),
        ("FLEET", ApiSettings),
    ],
)
@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("Localhost:3001", "'Localhost:3001' is not one of"),
        ("http://ok:1,https://a:443", "'https://a:443' is not one of"),
        ("http://a", "'http://a': no host:port"),
        ("http://a:70000", "'http://a:70000': no host:port"),
        ("http://a:1/path", "'http://a:1/path': an endpoint has no path"),
        ("dns:a", "'dns:a': no host:port"),
        ("file:", "'file:' is not one of"),
        (",", "names no endpoint"),
    ],
)
def test_endpoints_in_a_wrong_form_stop_the_process(name, kind, value, why):
    """The line names the variable, its value, the part that is wrong and what would be right."""
    text = complaint(kind, GATEWAY | {"FLEET": "http://a:1"} | {name: value})
    assert text.startswith(f"{name}={value}: {why}")
    assert text.endswith("http://host:port, file:path, dns:host:port or k8s:namespace/service:port")


def test_what_is_required_is_named():
    """A missing secret has no default to fall back to."""
    assert complaint(BalancerSettings, {}) == "CONTROL_TOKEN: is required"
    without = {name: value for name, value in GATEWAY.items() if name != "DATABASE_URL"}
    assert complaint(GatewaySettings, without).startswith("DATABASE_URL: is required")
    assert complaint(ApiSettings, GATEWAY) == "FLEET: is required"


def test_parsed_lists():
    """Peppers come newest first with their numbers, secrets as bytes, proxies as networks."""
    environ = GATEWAY | {"TRUSTED_PROXIES": "10.0.0.0/8, 2001:db8::/32,192.0.2.1", "CORS_ORIGINS": "https://a.example"}
    settings = load(GatewaySettings, environ)
    assert [number for number, _ in settings.api_key_peppers] == [2, 1]
    assert settings.identity_secrets == (bytes(range(32)),)
    assert settings.trusted_proxies[0] == ipaddress.ip_network("10.0.0.0/8")
    assert settings.trusted_proxies[2] == ipaddress.ip_network("192.0.2.1/32")
    assert settings.cors_origins == ("https://a.example",)


def test_stores_by_parts():
    """REDIS_HOST, REDIS_PORT and POSTGRES_* make the URLs when those are not given."""
    environ = {name: value for name, value in GATEWAY.items() if name != "DATABASE_URL"}
    environ |= {"REDIS_HOST": "cache", "POSTGRES_HOST": "db", "POSTGRES_USER": "u", "POSTGRES_PASSWORD": "p/w"}
    settings = load(GatewaySettings, environ)
    assert settings.redis_url == "redis://cache:6379/0"
    assert settings.database_url == "postgresql://u:p%2Fw@db:5432/scalable_api"


def test_demo_mode_stays_on_loopback():
    """Demo users and keys are known to everybody: with another address than loopback the process refuses to start."""
    assert "DEMO_MODE" in complaint(BalancerSettings, BALANCER | {"DEMO_MODE": "true"})
    assert load(BalancerSettings, BALANCER | {"DEMO_MODE": "true", "HOST": "127.0.0.1"}).demo_mode
    assert [is_loopback(host) for host in ("localhost", "::1", "0.0.0.0", "example.com")] == [True, True, False, False]


def test_no_secret_in_a_repr():
    """Settings in a log line or a traceback show no secret."""
    text = repr(load(GatewaySettings, GATEWAY | {"REDIS_URL": "redis://:hidden@x"}))
    assert TOKEN not in text
    assert "hidden" not in text
    assert "x02x03" not in text


def test_old_settings_name_their_successors():
    """Settings of the old system do nothing but warn."""
    assert retired({"JWT_SECRET": "x", "PORT": "1"}) == ["JWT_SECRET is gone; its successor: IDENTITY_SECRETS"]


def test_sizes():
    """Sizes take kb, mb, gb."""
    environ = GATEWAY | {"FLEET": "http://a:1", "CACHE_MAX_MEMORY": "2mb"}
    assert load(ApiSettings, environ).cache_max_memory == 2 << 20


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"TLS_CERT_PATH": "a.pem"}, "TLS_KEY_PATH: is required where TLS_CERT_PATH is set"),
        ({"TLS_KEY_PATH": "a.pem"}, "TLS_CERT_PATH: is required where TLS_KEY_PATH is set"),
        ({"PROXY_PROTOCOL": "true"}, "PROXY_PROTOCOL=true needs TRUSTED_PROXIES"),
    ],
)
def test_half_a_listener(environ, says):
    """A certificate without its key, a header that nobody is trusted to send."""
    assert complaint(GatewaySettings, GATEWAY | environ).startswith(says)
