"""`bootstrap`: what it makes, and what it says outside a cluster. With an API server: tests/cluster/test_platform_chart.py."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from services.cli.commands import bootstrap
from services.cli.errors import FAILED, CliError


def test_a_login_for_each_role_of_the_development_stores() -> None:
    """Three roles and the administrator, four passwords, none of which a URL or the stores' start scripts would have to escape."""
    made = bootstrap.dev_stores("shop-postgres", "shop-valkey")
    logins = {role: urlsplit(made[f"dev-{role}-url"]) for role in ("owner", "app", "gateway")}
    assert {role: url.username for role, url in logins.items()} == {role: f"scalable_{role}" for role in logins}
    assert {(url.hostname, url.port, url.path) for url in logins.values()} == {("shop-postgres", 5432, "/scalable_api")}
    valkey = urlsplit(made["dev-redis-url"])
    assert (valkey.scheme, valkey.hostname, valkey.username) == ("redis", "shop-valkey", "")
    passwords = {*(url.password for url in logins.values()), valkey.password, made["dev-postgres-password"]}
    assert len(passwords) == 5
    assert all(p and p.replace("-", "").replace("_", "").isalnum() for p in passwords)


def test_outside_a_cluster_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three lines, exit 1."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(CliError) as failed:
        bootstrap.run("shop-keys", None, "p", "v")
    assert (failed.value.exit_code, failed.value.why) == (
        FAILED,
        "not in a cluster: KUBERNETES_SERVICE_HOST is not set",
    )
