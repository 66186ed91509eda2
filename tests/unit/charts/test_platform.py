"""The platform's chart against the code it runs: what each process reads, which secrets it is given, what its values make of the ScalableApi."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from services.cli.commands.bootstrap import dev_stores
from services.cli.up.environment import fresh_secrets
from services.runtime.discovery import make_source
from services.runtime.endpoint_slices import SliceSource
from services.runtime.settings import ApiSettings, BalancerSettings, GatewaySettings, Settings, load
from services.schema.scalable_api import ScalableApi
from tests.harness import helm
from tests.unit.charts.scenes import merged, nested, scene, values, with_values

CHART: Final = "scalable-api"
PROCESSES: Final[Mapping[str, type[Settings]]] = {
    kind.component: kind for kind in (GatewaySettings, BalancerSettings, ApiSettings)
}
MADE: Final = fresh_secrets()
KEYS: Final[Mapping[str, str]] = {
    "token": MADE.control_token,
    "identity-secrets": MADE.identity_secrets,
    "api-key-peppers": MADE.api_key_peppers,
    "admin-password": "a password that a person chose",
    "owner-url": "postgresql://scalable_owner:x@db/shop",
    "app-url": "postgresql://scalable_app:x@db/shop",
    "gateway-url": "postgresql://scalable_gateway:x@db/shop",
    "redis-url": "redis://:x@valkey:6379/0",
    **dev_stores("shop-postgres", "shop-valkey"),
}
"""What a Secret's key holds, whoever made the Secret."""
ALLOWED: Final[Mapping[str, frozenset[str]]] = {
    "gateway": frozenset({"token", "identity-secrets", "api-key-peppers", "gateway-url", "redis-url"}),
    "balancer": frozenset({"token"}),
    "api": frozenset({"token", "identity-secrets", "api-key-peppers", "app-url", "redis-url"}),
    "migrate": frozenset({"owner-url", "admin-password"}),
}
"""reliability.md §5.1; development stores' keys count as those they stand for."""
FILES: Final = sorted(helm.ci_values(CHART).keys() - {"everything"})  # that one replaces CONTROL_TOKEN_FILE on purpose


def mounted(pod: helm.Object, container: helm.Object) -> Iterator[tuple[str, str]]:
    """Path and key of each secret that this container of the pod can read."""
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    for mount in container["volumeMounts"]:
        for source in volumes[mount["name"]].get("projected", {}).get("sources", ()):
            for item in source["secret"]["items"]:
                yield f"{mount['mountPath']}/{item['path']}", item["key"]


def pod_of(rendered: helm.Rendered, component: str) -> helm.Object:
    (found,) = [d for d in rendered.kind("Deployment") if d["metadata"]["name"].endswith(f"-{component}")]
    return dict(found["spec"]["template"])


def environment(rendered: helm.Rendered, pod: helm.Object, container: helm.Object, folder: Path) -> dict[str, str]:
    """As the kubelet makes it: the ConfigMap, over it the container's own; the secrets' files lie below `folder`."""
    (config,) = [m for m in rendered.kind("ConfigMap") if m["metadata"]["name"].endswith("-config")]
    env = dict(config["data"]) | {e["name"]: e["value"] for e in container["env"] if "value" in e}
    for path, key in mounted(pod, container):
        file = folder / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(KEYS[{"url": "redis-url"}.get(key, key)])
    return {n: str(folder / v.lstrip("/")) if n.endswith("_FILE") else v for n, v in env.items()}


@pytest.mark.parametrize("component", PROCESSES)
@pytest.mark.parametrize("name", FILES)
def test_each_process_takes_its_environment(name: str, component: str, tmp_path: Path) -> None:
    """With the secrets where they are mounted, the process's own settings accept what the pod gives it, and listen where its ports are."""
    rendered = scene(CHART, name)
    pod = pod_of(rendered, component)
    (container,) = pod["spec"]["containers"]
    found = load(PROCESSES[component], environment(rendered, pod, container, tmp_path))
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    listens = {"gateway": "gateway_port", "balancer": "lb_port", "api": "port"}[component]
    assert ports == {"http": getattr(found, listens), "control": found.control_port}
    assert (found.control_token, found.demo_mode) == (MADE.control_token, False)
    if component != "balancer":
        role = {"gateway": "scalable_gateway", "api": "scalable_app"}[component]
        assert role in found.database_url  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", [*FILES, "everything"])
def test_secrets_reach_only_who_needs_them(name: str) -> None:
    """A container can read the keys that its process uses; the owner's URL is the migration's alone, and the balancer has the token alone."""
    rendered = scene(CHART, name)
    for component in PROCESSES:
        pod = pod_of(rendered, component)
        for container in helm.containers(pod):
            keys = {key.removeprefix("dev-") for _, key in mounted(pod, container)}
            assert {"redis-url" if key == "url" else key for key in keys} == ALLOWED[container["name"]]


@pytest.mark.parametrize("name", FILES)
def test_endpoints_are_rendered_services(name: str) -> None:
    """Where a process looks for others, there is a Service of that name in that namespace, and its pods have a port of that name."""
    rendered = scene(CHART, name)
    services = {(s["metadata"]["namespace"], s["metadata"]["name"]): s for s in rendered.kind("Service")}
    for component, variables in (
        ("gateway", ("BALANCERS", "GATEWAY_PEERS")),
        ("balancer", ("API_SERVERS",)),
        ("api", ("FLEET",)),
    ):
        env = {e["name"]: e["value"] for e in pod_of(rendered, component)["spec"]["containers"][0]["env"]}
        for text in ",".join(env[variable] for variable in variables).split(","):
            assert isinstance(make_source(text), SliceSource)
            namespace, _, rest = text.removeprefix("k8s:").partition("/")
            service, _, port = rest.partition(":")
            assert port in {p["name"] for p in services[namespace, service]["spec"]["ports"]}
            assert services[namespace, service]["spec"]["ports"][0]["targetPort"] == port


@pytest.mark.parametrize("name", [*FILES, "everything"])
def test_the_scalable_api_is_valid(name: str) -> None:
    """The model takes it; each component's Deployment is there under the name that the operator looks for, with the label it wants."""
    rendered = scene(CHART, name)
    (made,) = rendered.kind("ScalableApi")
    body = {**made, "metadata": {"name": made["metadata"]["name"]}}
    spec = ScalableApi.model_validate(body, by_alias=True, by_name=False).spec
    for component in spec.components:
        deployment = rendered.one("Deployment", f"{made['metadata']['name']}-{component.name}")
        for labelled in (deployment, deployment["spec"]["template"]):
            assert labelled["metadata"]["labels"]["scalableapi.io/component"] == component.name
    assert {c.name for c in spec.components} == set(PROCESSES)


def component_of(made: helm.Rendered, name: str) -> helm.Object:
    (api,) = made.kind("ScalableApi")
    return next(c for c in api["spec"]["components"] if c["name"] == name)


def test_the_spec_is_merged_over_what_the_values_imply() -> None:
    """Maps by key, components by name, other lists whole."""
    own = {
        "paused": {"scaleDown": True},
        "components": [{"name": "api", "maxReplicas": 50, "drain": {"timeout": "90s"}}],
        "control": {"tokenSecretRef": {"key": "other"}},
    }
    rendered = with_values(CHART, {"scalableApi": {"spec": own}})
    assert component_of(rendered, "api") == {
        "name": "api",
        "minReplicas": 2,
        "maxReplicas": 50,
        "drain": {"timeout": "90s"},
    }
    assert component_of(rendered, "gateway") == {"name": "gateway", "minReplicas": 2, "maxReplicas": 20}
    spec = rendered.kind("ScalableApi")[0]["spec"]
    assert spec["control"] == {"tokenSecretRef": {"name": "shop-token", "key": "other"}}
    assert spec["paused"] == {"scaleDown": True}


def test_stores_of_ones_own_come_first() -> None:
    """devDatastores runs what nothing else names, and its Secret's keys are mounted for that store alone."""
    given = merged(
        values(CHART, "external"), {"redis": {"existingSecret": {"name": ""}}, "devDatastores": {"enabled": True}}
    )
    rendered = helm.render(CHART, given)
    assert [s["metadata"]["name"] for s in rendered.kind("StatefulSet")] == ["scalable-api-valkey"]
    pod = pod_of(rendered, "gateway")
    keys = {key for _, key in mounted(pod, pod["spec"]["containers"][0])}
    assert {"gateway-url", "dev-redis-url"} <= keys


def test_a_spread_of_ones_own_is_taken_as_it_is() -> None:
    """With a labelSelector it counts what that selects; without one, the component's own pods of one rollout."""
    whole = {"maxSkew": 2, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule"}
    mine = whole | {"labelSelector": {"matchLabels": {"team": "edge"}}}
    pod = pod_of(with_values(CHART, {"api": {"topologySpreadConstraints": [mine, whole]}}), "api")
    first, second = pod["spec"]["topologySpreadConstraints"]
    assert first == mine
    assert second["labelSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert {**whole, "matchLabelKeys": ["pod-template-hash"]}.items() <= second.items()


def test_nothing_is_made_where_both_secrets_are_named() -> None:
    """No hook, no Role that may create Secrets."""
    rendered = scene(CHART, "external")
    assert rendered.kind("Job") == ()
    assert [r for r in rendered.kind("Role") if "create" in str(r)] == []


def test_a_changed_setting_replaces_the_pods() -> None:
    """They read the ConfigMap once, at their start; a changed URL likewise."""
    urls = {"postgres": {"url": "postgresql://a@b/c", "existingSecret": ""}}
    plain, changed = with_values(CHART), with_values(CHART, {"config": {"LOG_LEVEL": "debug"}})
    first, second = (
        with_values(CHART, urls),
        with_values(CHART, merged(urls, {"postgres": {"url": "postgresql://x@b/c"}})),
    )
    for component in PROCESSES:
        before, after = (pod_of(r, component)["metadata"]["annotations"] for r in (plain, changed))
        assert before != after
    for before, after, same in ((first, second, False), (first, first, True)):
        assert (pod_of(before, "api")["metadata"] == pod_of(after, "api")["metadata"]) is same
    assert pod_of(first, "balancer")["metadata"] == pod_of(second, "balancer")["metadata"]


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"config": {"LOG_LEVL": "debug"}}, "config.LOG_LEVL: no setting has this name; there are ADMIN_EMAIL"),
        ({"config": {"CONTROL_TOKEN": "x"}}, "config.CONTROL_TOKEN: no setting"),
        ({"config": {"DEMO_MODE": True}}, "config.DEMO_MODE: no setting"),
        (
            {"config": {"DRAIN_SECONDS": 60}},
            "gateway.terminationGracePeriodSeconds: 60 is too short; stopping takes up to 75 s",
        ),
        ({"redis": {"url": "rediss://x", "existingSecret": {"name": ""}}}, "redis.url must begin with redis://"),
        ({"postgres": {"url": "mysql://x", "existingSecret": ""}}, "postgres.url must begin with postgresql://"),
        ({"scalableApi": {"spec": {"components": [{"name": "web"}]}}}, 'components: "web" is no component'),
        (
            nested(("api", "scaling"), {"minReplicas": 9, "maxReplicas": 8}),
            "api.scaling: minReplicas 9 is more than maxReplicas 8",
        ),
        ({"httpRoute": {"enabled": True}}, "httpRoute.parentRefs: name the Gateway"),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_name(given: dict[str, Any], complaint: str) -> None:
    """Values that would fail in the cluster, or be silently unread there, fail while rendering."""
    with pytest.raises(helm.RenderError) as refused:
        with_values(CHART, given)
    assert complaint in str(refused.value)


def test_config_takes_every_kind_of_value() -> None:
    """Numbers and switches become the texts that settings read; large numbers are not written as 1e+07."""
    given = {"MAX_BODY_BYTES": 20971520, "LIMITER_ENABLED": False, "HEALTH_INTERVAL": 2.5, "LOG_LEVEL": "debug"}
    rendered = with_values(CHART, {"config": given})
    data = rendered.one("ConfigMap", "scalable-api-config")["data"]
    assert {name: data[name] for name in given} == {
        "MAX_BODY_BYTES": "20971520",
        "LIMITER_ENABLED": "false",
        "HEALTH_INTERVAL": "2.5",
        "LOG_LEVEL": "debug",
    }


def test_notes_say_what_is_kept_and_what_is_risky() -> None:
    """Where to go, what stays after an uninstall, and each thing that is for trials only."""
    notes = scene(CHART, "hpa").notes
    assert "WARNING: postgres.url is one login" in notes
    assert "Secret scalable-api-keys, Secret scalable-api-control" in notes
    assert "port-forward service/scalable-api-gateway 8080:8080" in notes
    assert "WARNING: devDatastores" in scene(CHART, "dev").notes
    assert "WARNING" not in scene(CHART, "external").notes
    assert "NOTE: api may run as a single pod" in scene(CHART, "fixed").notes
    assert "https://api.example.com/" in scene(CHART, "ingress").notes
    assert "config.TRUSTED_PROXIES is empty" in scene(CHART, "ingress").notes
    assert "TRUSTED_PROXIES" not in scene(CHART, "httproute").notes


def test_the_services_appear_on_the_gateway_alone() -> None:
    """Type, port and traffic policy are the gateway's; balancer and api stay inside the cluster."""
    rendered = with_values(
        CHART, nested(("gateway", "service"), {"type": "LoadBalancer", "port": 80, "externalTrafficPolicy": "Local"})
    )
    outside = [s for s in rendered.kind("Service") if s["spec"].get("type", "ClusterIP") != "ClusterIP"]
    assert [(s["metadata"]["name"], s["spec"]["ports"][0]["port"]) for s in outside] == [("scalable-api-gateway", 80)]
    assert outside[0]["spec"]["externalTrafficPolicy"] == "Local"
