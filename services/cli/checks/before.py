"""What a cluster must have and let you do before the charts are installed: `check --pre`. Everything is asked through kubectl.

Who installs must hold what the chart grants: Kubernetes lets nobody give away rights of which he has none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from services.cli.checks.finding import Finding, Mark, permitted
from services.cli.errors import NOT_FOUND, CliError
from services.cli.targets import kubectl
from services.cli.targets.kubectl import KIND, Where
from services.schema.crd import GROUP, SCHEMA_VERSION

OLDEST: Final = (1, 30)
"""CEL rules and ValidatingAdmissionPolicy as the charts use them."""
NAMESPACE: Final = "scalable-api"
"""README's; another by -n."""
GRANTED: Final[tuple[tuple[str, str, tuple[str, ...]], ...]] = (
    (GROUP, "scalableapis", ("list", "watch")),
    (GROUP, "scalableapis/status", ("patch",)),
    ("apps", "deployments", ("get", "list", "watch")),
    ("apps", "deployments/scale", ("patch",)),
    ("", "pods", ("list", "watch", "patch")),
    ("", "configmaps", ("get", "list", "watch", "create", "patch")),
    ("autoscaling", "horizontalpodautoscalers", ("list", "watch")),
    ("events.k8s.io", "events", ("create",)),
)
"""The operator's rights in every namespace: operator.md §8, held against scalable_operator/resources/rbac.py by a test."""
MADE: Final[tuple[tuple[str, str], ...]] = (
    ("apiextensions.k8s.io", "customresourcedefinitions"),
    ("rbac.authorization.k8s.io", "clusterroles"),
    ("rbac.authorization.k8s.io", "clusterrolebindings"),
    ("admissionregistration.k8s.io", "validatingadmissionpolicies"),
    ("admissionregistration.k8s.io", "validatingadmissionpolicybindings"),
)
MADE_INSIDE: Final[tuple[tuple[str, str], ...]] = (
    ("", "configmaps"),
    ("", "pods"),
    ("", "secrets"),
    ("", "serviceaccounts"),
    ("", "services"),
    ("apps", "deployments"),
    ("apps", "statefulsets"),
    ("batch", "jobs"),
    ("coordination.k8s.io", "leases"),
    ("networking.k8s.io", "networkpolicies"),
    ("policy", "poddisruptionbudgets"),
    ("rbac.authorization.k8s.io", "rolebindings"),
    ("rbac.authorization.k8s.io", "roles"),
    (GROUP, "scalableapis"),
)
"""What the charts create, of the cluster and in a namespace: held against the rendered charts by a test."""
MONITORS: Final = "servicemonitors.monitoring.coreos.com"
Right = tuple[str, str, str, str]
"""Group, resource, verb, namespace; '' is all of them."""


def look(where: Where) -> list[Finding]:
    return [
        version(json.loads(kubectl.ask(where, "version", "-o", "json"))),
        permitted("Cluster", "CRD", lambda: definition(found(where, "crd", KIND))),
        permitted("Cluster", "storage", lambda: storage(_items(where, "storageclasses"))),
        permitted("Cluster", "monitoring", lambda: monitoring(_prometheuses(where))),
        *rights(_allowed(where, needed(where.namespace or NAMESPACE))),
    ]


def found(where: Where, *words: str) -> Any:
    """The object, or None where it is not there."""
    try:
        return json.loads(kubectl.ask(where, "get", *words, "-o", "json"))
    except CliError as error:
        if error.exit_code == NOT_FOUND:
            return None
        raise


def needed(namespace: str) -> list[Right]:
    granted = [(group, what, verb, "") for group, what, verbs in GRANTED for verb in verbs]
    made = [(group, what, "create", "") for group, what in MADE]
    return granted + made + [(group, what, "create", namespace) for group, what in MADE_INSIDE]


def _allowed(where: Where, wanted: list[Right]) -> dict[Right, bool]:
    """Asked in one go: each is an object that the API server answers and forgets."""
    reviews = "\n---\n".join(json.dumps(_review(right)) for right in wanted)
    words = ("create", "--validate=false", "-f", "-", "-o", 'go-template={{.status.allowed}}{{"\\n"}}')
    answers = kubectl.ask(where, *words, stdin=reviews.encode()).decode().split()
    return {right: answer == "true" for right, answer in zip(wanted, answers, strict=True)}


def _review(right: Right) -> dict[str, Any]:
    group, what, verb, namespace = right
    resource, _, sub = what.partition("/")
    asked = {"group": group, "resource": resource, "subresource": sub, "verb": verb, "namespace": namespace}
    spec = {"resourceAttributes": asked}
    return {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": spec}


def _prometheuses(where: Where) -> list[Any] | None:
    """Those of the Prometheus operator; None without it."""
    if found(where, "crd", MONITORS) is None:
        return None
    return _items(where, "prometheuses", "-A")


def _items(where: Where, *words: str) -> list[Any]:
    return list(json.loads(kubectl.ask(where, "get", *words, "-o", "json"))["items"])


def version(said: Mapping[str, Any]) -> Finding:
    text = str(said["serverVersion"]["gitVersion"])
    numbers = re.match(r"v(\d+)\.(\d+)", text)
    if numbers and (int(numbers[1]), int(numbers[2])) >= OLDEST:
        return Finding("Cluster", "version", Mark.good, f"Kubernetes {text}")
    oldest = ".".join(map(str, OLDEST))
    return Finding("Cluster", "version", Mark.bad, f"Kubernetes {text}", f"upgrade it to {oldest} or newer")


def definition(crd: Mapping[str, Any] | None) -> Finding:
    """The CustomResourceDefinition, by the version of its schema."""
    if crd is None:
        return Finding("Cluster", "CRD", Mark.good, "not there yet; the operator's chart brings it")
    told = (crd["metadata"].get("annotations") or {}).get(f"{GROUP}/schema-version", "")
    if told == str(SCHEMA_VERSION):
        return Finding("Cluster", "CRD", Mark.good, f"there, schema version {told}")
    text = f"there, schema version {told or 'unknown'}; this program knows {SCHEMA_VERSION}"
    return Finding(
        "Cluster", "CRD", Mark.look, text, "upgrade the operator's chart first; use its version of this program"
    )


def rights(allowed: Mapping[Right, bool]) -> Iterator[Finding]:
    """What is missing, one line a resource; one line if nothing is."""
    missing: dict[tuple[str, str, str], list[str]] = {}
    for (group, what, verb, namespace), may in allowed.items():
        if not may:
            missing.setdefault((group, what, namespace), []).append(verb)
    for (group, what, namespace), verbs in missing.items():
        where = f"in {namespace}" if namespace else "in every namespace"
        subject = f"{what}.{group}" if group else what
        text = f"you may not {', '.join(verbs)} {subject} {where}"
        yield Finding(
            "Rights", "install", Mark.bad, text, "a cluster's administrator installs it, or gives you the right"
        )
    if not missing:
        yield Finding("Rights", "install", Mark.good, f"all {len(allowed)} that the charts need")


def storage(classes: list[Any]) -> Finding:
    """Only the development stores claim volumes."""
    mark = "storageclass.kubernetes.io/is-default-class"
    for one in classes:
        if (one["metadata"].get("annotations") or {}).get(mark) == "true":
            return Finding("Cluster", "storage", Mark.good, f"default StorageClass {one['metadata']['name']}")
    fix = "only for devDatastores: set a default, or devDatastores.persistence.enabled=false"
    return Finding("Cluster", "storage", Mark.look, "no default StorageClass", fix)


def monitoring(prometheuses: list[Any] | None) -> Finding:
    """A ServiceMonitor that no Prometheus selects is ignored without a word: its labels are named here."""
    if prometheuses is None:
        return Finding("Cluster", "monitoring", Mark.good, "no Prometheus operator; leave monitoring.enabled=false")
    selectors = [p["spec"]["serviceMonitorSelector"] for p in prometheuses if "serviceMonitorSelector" in p["spec"]]
    if not selectors:
        fix = "give one a serviceMonitorSelector, or leave monitoring.enabled=false"
        return Finding("Cluster", "monitoring", Mark.look, "no Prometheus selects ServiceMonitors", fix)
    wanted = sorted({f"{key}={value}" for one in selectors for key, value in one.get("matchLabels", {}).items()})
    if wanted:
        text = f"Prometheus selects ServiceMonitors by {', '.join(wanted)}"
        fix = " ".join(f"--set monitoring.labels.{pair.replace('.', chr(92) + '.')}" for pair in wanted)
        return Finding("Cluster", "monitoring", Mark.look, text, fix)
    return Finding("Cluster", "monitoring", Mark.good, "Prometheus selects every ServiceMonitor")
