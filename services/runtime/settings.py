"""Settings of each process: environment variables, read once at start, typed, checked, and named when they are wrong.

`NAME` is the variable; `NAME_FILE` may hold the path of a file with the value (secrets on Kubernetes);
`SCALABLE_NAME` is the same as `NAME` and wins. A `SCALABLE_*` name nobody knows is a typing error and stops the
process, as a bad value does: one line, exit code 1 (process.py). Field names are the lower-case setting names of
contract.md section 7; only the rows this version uses are here. More than 400 lines because they are one table.
"""

from __future__ import annotations

import base64
import binascii
import importlib.metadata
import ipaddress
import re
import secrets
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, Self, TypeVar
from urllib.parse import quote, urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from services.runtime.discovery import FORMS, make_source

S = TypeVar("S", bound="Settings")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# What tutorials and the old system shipped: whoever runs with one of these has no secret at all.
KNOWN_DEFAULTS: Final = frozenset(
    {
        "admin-token-dev",
        "admin123",
        "user123",
        "changeme",
        "change-me",
        "password",
        "postgres",
        "secret",
        "token",
        "default",
        "test",
    }
)
SECRET_BYTES_MIN: Final = 32  # SHA-256's own width: a shorter HMAC key is the weakest link
TOKEN_CHARACTERS_MIN: Final = 16

# Settings of the old system that are gone, and what took their place.
SUCCESSORS: Final[Mapping[str, str]] = {
    "NODE_ENV": "LOG_FORMAT and DEMO_MODE",
    "SERVICE_NAME": "nothing: it is fixed per process",
    "WORKER_ID": "INSTANCE_ID",
    "RABBITMQ_URL": "nothing: jobs are kept in Postgres",
    "JWT_SECRET": "IDENTITY_SECRETS",
    "RATE_LIMIT_WINDOW_MS": "the tiers document (TIERS_FILE)",
    "RATE_LIMIT_MAX_REQUESTS": "the tiers document (TIERS_FILE)",
    "RATE_LIMIT_TTL": "the tiers document (TIERS_FILE)",
    "CACHE_EVICTION_POLICY": "nothing: it is LRU",
    "RETENTION_METRICS_PERSISTENT_DAYS": "Prometheus' own retention",
    "RETENTION_SESSIONS_HOURS": "SESSION_TTL",
}


class SettingsError(Exception):
    """A setting is missing, wrong or unknown; the text names it, its value and the rule."""


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _not_default(value: str) -> str:
    if value.lower() in KNOWN_DEFAULTS:
        raise ValueError("is a known default; choose a secret of your own")
    if len(value) < TOKEN_CHARACTERS_MIN:
        raise ValueError(f"needs at least {TOKEN_CHARACTERS_MIN} characters")
    return value


def _secret(text: str) -> bytes:
    try:
        secret = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("must be base64") from None
    if len(secret) < SECRET_BYTES_MIN or len(set(secret)) < 8:
        raise ValueError(f"needs at least {SECRET_BYTES_MIN} random bytes")
    return secret


def _secrets(value: object) -> object:
    return (
        tuple(_secret(part.strip()) for part in value.split(",") if part.strip()) if isinstance(value, str) else value
    )


def _peppers(value: object) -> object:
    if not isinstance(value, str):
        return value
    peppers: dict[int, bytes] = {}
    for part in filter(None, (part.strip() for part in value.split(","))):
        number, colon, secret = part.partition(":")
        if not colon or not number.isdecimal() or not 0 < int(number) < 2**15:
            raise ValueError("must be NUMBER:BASE64 pairs, numbers 1…32767")
        if int(number) in peppers:
            raise ValueError(f"names pepper {int(number)} twice")
        peppers[int(number)] = _secret(secret)
    return tuple(peppers.items())


def _instance(value: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9._-]{1,64}", value) is None:
        raise ValueError("must be 1…64 of A-Z a-z 0-9 . _ -")
    return value


def _size(value: object) -> object:
    match = re.fullmatch(r"(?i)(\d+)\s*(kb|mb|gb|)", value.strip()) if isinstance(value, str) else None
    return int(match[1]) << {"": 0, "kb": 10, "mb": 20, "gb": 30}[match[2].lower()] if match else value


def _origins(value: tuple[str, ...]) -> tuple[str, ...]:
    for origin in value:
        if origin != "*" and re.fullmatch(r"https?://[A-Za-z0-9.\-\[\]:]+", origin) is None:
            raise ValueError(f"{origin!r} is not an origin such as https://app.example.com")
    if "*" in value and len(value) > 1:
        raise ValueError("* only alone")
    return value


def _sources(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value:
        raise ValueError(f"names no endpoint; the forms are {FORMS}")
    for text in value:
        make_source(text)
    return value


def _networks(value: object) -> object:
    parts = _split(value)
    return tuple(ipaddress.ip_network(part, strict=False) for part in parts) if isinstance(parts, tuple) else value


def _servers(value: object) -> object:
    if not isinstance(value, str):
        return value
    servers: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in value.split(","))):
        name, _, url = part.partition("=")
        if re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?", name) is None or not re.match(r"https?://[^/]", url):
            raise ValueError("must be NAME=URL pairs such as default=http://prometheus:9090")
        if name in servers:
            raise ValueError(f"names {name!r} twice")
        servers[name] = url
    return servers


def _collector(url: str) -> str:
    if not re.match(r"https?://[^/]", url):
        raise ValueError("must be a URL such as http://collector:4318")
    return url


def _host_name() -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:64] or "localhost"


def _version() -> str:
    try:
        return importlib.metadata.version("scalable-api")
    except importlib.metadata.PackageNotFoundError:
        return "0+unknown"


Csv = Annotated[tuple[str, ...], BeforeValidator(_split)]
Sources = Annotated[Csv, AfterValidator(_sources)]
Servers = Annotated[Mapping[str, str], BeforeValidator(_servers)]
Secret = Annotated[str, AfterValidator(_not_default)]
Secrets = Annotated[tuple[bytes, ...], BeforeValidator(_secrets), Field(min_length=1, repr=False)]
Peppers = Annotated[tuple[tuple[int, bytes], ...], BeforeValidator(_peppers), Field(min_length=1, repr=False)]
Port = Annotated[int, Field(ge=0, le=65535)]
Positive = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(ge=0)]
Size = Annotated[int, BeforeValidator(_size), Field(gt=0)]


class Settings(BaseModel):
    """What every process knows."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    component: ClassVar[str]

    instance_id: Annotated[str, AfterValidator(_instance)] = Field(default_factory=_host_name)
    app_version: str = Field(default_factory=_version)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] | None = None  # None: console on a terminal
    slow_request_ms: Positive = 1000
    host: str = "0.0.0.0"  # containers: all addresses
    control_port: Port = 9180
    control_token: Secret = Field(repr=False)
    drain_delay_seconds: Seconds = 5
    drain_seconds: Seconds = 30
    demo_mode: bool = False
    public_ops: Literal["auth", "open"] = "auth"
    supervisor_fd: int | None = None  # set by `up` and tests alone: process.py

    @model_validator(mode="after")
    def _demo_stays_at_home(self) -> Self:
        if self.demo_mode and not is_loopback(self.host):
            raise ValueError(
                f"DEMO_MODE=true needs a loopback HOST, not {self.host}: its users and keys are known to all"
            )
        return self


class _Redis(BaseModel):
    redis_schemes: ClassVar[tuple[str, ...]] = ("redis", "rediss", "unix")
    redis_url: str = Field(default="redis://localhost:6379/0", repr=False)

    @model_validator(mode="before")
    @classmethod
    def _redis_parts(cls, data: dict[str, Any]) -> dict[str, Any]:
        if "redis_url" not in data and ("redis_host" in data or "redis_port" in data):
            data["redis_url"] = f"redis://{data.get('redis_host', 'localhost')}:{data.get('redis_port', '6379')}/0"
        if "redis_url" in data and urlsplit(str(data["redis_url"])).scheme not in cls.redis_schemes:
            raise ValueError(f"REDIS_URL must begin with {' or '.join(f'{scheme}://' for scheme in cls.redis_schemes)}")
        return data


class _Database(BaseModel):
    database_url: str = Field(repr=False)

    @model_validator(mode="before")
    @classmethod
    def _database_parts(cls, data: dict[str, Any]) -> dict[str, Any]:
        if "database_url" not in data and "postgres_password" in data:
            user, password = (
                quote(str(data.get(name, "postgres")), safe="") for name in ("postgres_user", "postgres_password")
            )
            host, port = data.get("postgres_host", "localhost"), data.get("postgres_port", "5432")
            data["database_url"] = (
                f"postgresql://{user}:{password}@{host}:{port}/{data.get('postgres_db', 'scalable_api')}"
            )
        if "database_url" in data and urlsplit(str(data["database_url"])).scheme not in {"postgres", "postgresql"}:
            raise ValueError("DATABASE_URL must begin with postgresql://")
        return data


class _Traced(BaseModel):
    otel_exporter_otlp_endpoint: Annotated[str, AfterValidator(_collector)] | None = None  # unset: no spans


class GatewaySettings(Settings, _Redis, _Database, _Traced):
    component: ClassVar[str] = "gateway"
    redis_schemes: ClassVar[tuple[str, ...]] = ("redis", "unix")  # runtime/redis_batch.py speaks no TLS

    identity_secrets: Secrets
    api_key_peppers: Peppers
    tiers_file: Path | None = None
    gateway_port: Port = 8080
    balancers: Sources = ("http://localhost:3000",)
    gateway_peers: Sources = ()  # unset: alone
    trusted_proxies: Annotated[tuple[Network, ...], BeforeValidator(_networks)] = ()
    cors_origins: Annotated[Csv, AfterValidator(_origins)] = ()
    request_timeout_ms: Positive = 30_000
    max_body_bytes: Size = 10 << 20
    server_timing: Literal["off", "admin", "all"] = "admin"
    trace_context: Literal["continue", "restart"] = "continue"
    trace_sample: Annotated[float, Field(ge=0, le=1)] = (
        0.01  # of the traces that begin here; the others follow the flag
    )
    limiter_timeout_ms: Positive = 20
    limiter_enabled: bool = True
    key_cache_ttl: Positive = 60
    key_cache_stale: Positive = 900
    tls_cert_path: Path | None = None  # unset: plain HTTP
    tls_key_path: Path | None = None
    proxy_protocol: bool = False  # connections of TRUSTED_PROXIES begin with its header

    @model_validator(mode="after")
    def _listener_is_whole(self) -> Self:
        if self.tls_cert_path and not self.tls_key_path:
            raise ValueError("TLS_KEY_PATH: is required where TLS_CERT_PATH is set")
        if self.tls_key_path and not self.tls_cert_path:
            raise ValueError("TLS_CERT_PATH: is required where TLS_KEY_PATH is set")
        if self.proxy_protocol and not self.trusted_proxies:
            raise ValueError("PROXY_PROTOCOL=true needs TRUSTED_PROXIES: nobody else's header is believed")
        return self


class BalancerSettings(Settings, _Traced):
    component: ClassVar[str] = "balancer"

    tiers_file: Path | None = None
    lb_port: Port = 3000
    api_servers: Sources = ("http://localhost:3001", "http://localhost:3002", "http://localhost:3003")
    max_body_bytes: Size = 10 << 20
    upstream_connect_timeout_ms: Positive = 1000
    upstream_timeout_ms: Positive = 30_000
    lb_policy: Literal["p2c", "peak_ewma", "round_robin"] = "p2c"
    health_interval: Annotated[float, Field(gt=0)] = 5
    health_timeout_ms: Positive = 2000
    circuit_failure_threshold: Annotated[int, Field(ge=0)] = 5
    circuit_reset_timeout: Positive = 30_000


class ApiSettings(Settings, _Redis, _Database, _Traced):
    component: ClassVar[str] = "api"

    identity_secrets: Secrets
    api_key_peppers: Peppers
    fleet: Sources
    cors_origins: Annotated[Csv, AfterValidator(_origins)] = ()  # CSRF accepts these origins too
    port: Port = 3001
    pg_pool_max: Positive = 10
    slow_query_ms: Positive = 100
    api_docs: bool = True
    external_url: str | None = None
    problem_base_uri: str = "https://scalableapi.io/problems/"
    circuit_failure_threshold: Annotated[int, Field(ge=0)] = 5
    circuit_reset_timeout: Positive = 30_000
    cache_ttl: Positive = 300
    api_response_ttl: Positive = 60
    user_profile_ttl: Positive = 600
    cache_stale_seconds: Annotated[int, Field(ge=0)] = 3600
    cache_l1_ttl_ms: Positive = 5000
    cache_l1_max_items: Positive = 1000
    cache_max_memory: Size = 64 << 20
    session_ttl: Positive = 86_400
    session_idle_ttl: Positive = 28_800


class ControllerSettings(Settings):
    component: ClassVar[str] = "controller"

    prometheus_servers: Servers = {}  # NAME=URL,… for metrics of type Prometheus; a manifest writes the name
    polls_per_second: Positive = 500


class OperatorSettings(ControllerSettings):
    component: ClassVar[str] = "operator"

    control_token: Secret = Field(default_factory=secrets.token_urlsafe, repr=False)  # unset: nobody may call
    drain_delay_seconds: Seconds = 0  # no requests to lead elsewhere
    drain_seconds: Seconds = 2
    pod_namespace: str = "default"
    watch_namespaces: Csv = ()  # unset: all


class CheckSettings(Settings):
    """`scalable-api check --in-cluster`: no process of the platform, but a pod beside it."""

    component: ClassVar[str] = "check"

    gateway_url: Annotated[str, Field(pattern=r"^https?://[^/]+/?$")]
    fleet: Sources  # every control port, as the api's


PROCESSES: Final[tuple[type[Settings], ...]] = (
    GatewaySettings,
    BalancerSettings,
    ApiSettings,
    ControllerSettings,
    OperatorSettings,
    CheckSettings,
)
PARTS: Final = frozenset(
    {"REDIS_HOST", "REDIS_PORT", "POSTGRES_HOST", "POSTGRES_PORT", "POSTGRES_DB", "POSTGRES_USER", "POSTGRES_PASSWORD"}
)
BY_MIGRATE: Final = frozenset({"ADMIN_EMAIL", "ADMIN_PASSWORD"})
KNOWN: Final = frozenset(name.upper() for process in PROCESSES for name in process.model_fields) | PARTS | BY_MIGRATE
HIDDEN: Final = re.compile(r"TOKEN|SECRET|PEPPER|PASSWORD|_URL$")


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def load(kind: type[S], environ: Mapping[str, str]) -> S:
    """The process's settings, or `SettingsError` with one line for whoever set them."""
    raw = collect(environ)
    try:
        return kind.model_validate({name.lower(): value for name, value in raw.items()})
    except ValidationError as error:
        raise SettingsError(_complaint(error, raw)) from None


def collect(environ: Mapping[str, str]) -> dict[str, str]:
    """Setting name → value by the three spellings; an empty `NAME` counts as unset, as in every shell script."""
    found = {name: value for name in KNOWN if (value := setting(name, environ)) is not None}
    for name in environ:
        bare = name.removeprefix("SCALABLE_")
        if bare != name and bare not in KNOWN and bare.removesuffix("_FILE") not in KNOWN:
            raise SettingsError(
                f"{name}: no setting has this name; see `scalable-api settings` or contract.md section 7"
            )
    return found


def setting(name: str, environ: Mapping[str, str]) -> str | None:
    """One setting's value, None where it is unset: `NAME_FILE`, over it `NAME`, over both the same with `SCALABLE_`."""
    for prefix in ("SCALABLE_", ""):
        if value := environ.get(prefix + name):
            return value
        if path := environ.get(f"{prefix}{name}_FILE"):
            return _read(f"{prefix}{name}_FILE", path)
    return None


def retired(environ: Mapping[str, str]) -> list[str]:
    """One warning per setting of the old system that is still set."""
    return [f"{name} is gone; its successor: {SUCCESSORS[name]}" for name in SUCCESSORS if name in environ]


def _read(name: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{name}={path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _complaint(error: ValidationError, raw: Mapping[str, str]) -> str:
    first = error.errors()[0]
    rule = first["msg"].removeprefix("Value error, ")
    name = str(first["loc"][0]).upper() if first["loc"] else ""
    if not name:
        return rule
    if first["type"] == "missing":
        return f"{name}: is required" + (" (or POSTGRES_PASSWORD and its kin)" if name == "DATABASE_URL" else "")
    shown = "***" if HIDDEN.search(name) else raw.get(name, "")
    return f"{name}={shown}: {rule[0].lower()}{rule[1:]}"
