"""The Tiltfile, run as Starlark over charts that really render (tilt.py), by the rules of tilt_rules.py."""

from __future__ import annotations

import itertools

import pytest
import starlark

from tests.unit.deploy.tilt import TILTFILE, run
from tests.unit.deploy.tilt_rules import groups, problems, resources

FLAGS = ("monitoring", "keda")
TEXT = TILTFILE.read_text()


def test_the_tiltfile_names_what_is_there() -> None:
    """Nothing is wrong with it."""
    assert problems(TEXT) == []


@pytest.mark.parametrize("on", [*itertools.product([False, True], repeat=len(FLAGS))])
def test_each_flag_renders(on: tuple[bool, ...]) -> None:
    """All flags in all ways: what they switch on is rendered, and no object is left over."""
    tilt = run(TEXT, dict(zip(FLAGS, on, strict=True)))
    kinds = {thing["kind"] for thing in tilt.objects}
    assert tuple(tilt.defined) == FLAGS
    assert ("ServiceMonitor" in kinds, "ScaledObject" in kinds) == on
    assert [*resources(tilt), *groups(tilt)] == []


def test_a_cluster_that_is_not_the_laptop_s_is_left_alone() -> None:
    """kubectl's current context may be somebody's production: not a builtin is called before that is told, with the way out."""
    assert run(TEXT).contexts == ["kind-scalable-api"]
    with pytest.raises(starlark.StarlarkError, match=r"speaks to production, .* deploy/kind-up\.sh"):
        run(TEXT, context="production")


def test_an_edit_runs_no_bootstrap_again() -> None:
    """The Job has the api's image: by itself it would be run anew for each file that is saved."""
    assert [r.name for r in run(TEXT).resources if r.manual] == ["scalable-api-bootstrap"]


BROKEN = {
    "a Dockerfile that is not there": (
        "'deploy/Dockerfile'",
        "'deploy/Containerfile'",
        "no such path: deploy/Containerfile",
    ),
    "values that are not there": ("'/ci/dev.yaml'", "'/ci/develop.yaml'", "No such file"),
    "a folder that is not there": (
        "sync('services', '/app/src/services')",
        "sync('src', '/app/src/src')",
        "no such path: src",
    ),
    "a file that is not there": ("/namespaces.yaml'", "/namespace.yaml'", "No such file"),
    "a command that is not there": (
        ".venv/bin/scalable-api'",
        ".venv/bin/scalable'",
        "no such path: .venv/bin/scalable",
    ),
    "a folder that is elsewhere": (
        "'/app/src/operator'",
        "'/app/operator'",
        "operator is not at /app/operator in the image",
    ),
    "a folder that is in no image": (
        "sync('operator', '/app/src/operator')",
        "sync('docs', '/app/src/docs')",
        "keeps docs out",
    ),
    "an older Kubernetes": ("'1.30.0'", "'1.29.0'", "charts/scalable-api is for Kubernetes >=1.30.0-0, not 1.29.0"),
    "a missing image": (
        "[c + '.image.ref=' + image(c) for c in COMPONENTS]",
        "[c + '.image.ref=' + image(c) for c in COMPONENTS[:2]]",
        "image ghcr.io/scalable-api/scalable-api-api runs in a chart and is not built",
    ),
    "an image under another name": ("ref = 'scalable-api-'", "ref = 'scalable-'", "is built and runs in no chart"),
    "an image too many": ("STORES = [", "image('worker')\nSTORES = [", "scalable-api-worker: no locks/worker.txt"),
    "a target that is not there": ("target='dev'", "target='develop'", "the Dockerfile has no target develop"),
    "an argument that is not there": ("'SERVICE': service", "'SERVICE': service, 'DEBUG': '1'", "no ARG DEBUG"),
    "a read-only root": ("'/ci/dev.yaml'", "'/ci/everything.yaml'", "its root is read-only"),
    "a wrong workload": (
        "k8s_resource('scalable-api-valkey'",
        "k8s_resource('scalable-api-redis'",
        "no chart renders such a workload",
    ),
    "a forgotten workload": (
        "k8s_resource('scalable-api-balancer'",
        "k8s_resource('scalable-api-gateway'",
        "workload scalable-api-balancer has no",
    ),
    "a wrong object": ("PLATFORM + ':ScalableApi'", "PLATFORM + ':Scalable'", "scalable-api:Scalable is 0 objects"),
    "a forgotten object": (
        "'Service', 'ScalableApi'",
        "'Service', 'Role', 'ScalableApi'",
        "scalable-api-discovery:Role is in no resource",
    ),
    "a wrong dependency": (
        "resource_deps=['scalable-api-operator']",
        "resource_deps=['operator']",
        "waits for operator, which",
    ),
    "a circle": (
        "objects=others(operator), resource_deps=['namespaces']",
        "objects=others(operator), resource_deps=['scalableapi']",
        "does not come before",
    ),
    "nothing to wait for": (
        "resource_deps=['namespaces'], labels=['data-path']",
        "labels=['data-path']",
        "does not wait for the namespaces",
    ),
    "no CRD to wait for": (
        "resource_deps=['scalable-api-operator'] + [",
        "resource_deps=['namespaces'] + [",
        "does not wait for its CRD",
    ),
    "a port twice": ("port_forward(16379, 6379", "port_forward(8080, 6379", "port 8080 is forwarded twice"),
    "a closed port": ("port_forward(8080, 8080", "port_forward(8080, 80", "scalable-api-gateway has no port 80"),
    "no label": ("labels=['cluster']", "labels=[]", "resource namespaces has no label"),
    "a button nowhere": (
        "button('scalable-api-gateway'",
        "button('gateway'",
        "stands at gateway, which is no resource",
    ),
    "a dead button": ("start_on={'ui_buttons': [name]}", "start_on={'ui_buttons': []}", "button status starts nothing"),
    "a misspelt parameter": ("new_name='namespaces'", "newname='namespaces'", "unexpected keyword argument 'newname'"),
}


@pytest.mark.parametrize(("was", "becomes", "told"), BROKEN.values(), ids=BROKEN)
def test_a_broken_tiltfile_is_told(was: str, becomes: str, told: str) -> None:
    """Each of these mistakes is found, and named."""
    assert was in TEXT
    assert [problem for problem in problems(TEXT.replace(was, becomes)) if told in problem]
