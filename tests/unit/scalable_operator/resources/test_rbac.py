"""Rights: no wildcard, nothing is deleted, a namespaced operator sees no cluster."""

from __future__ import annotations

from scalable_operator.resources import rbac


def test_least_rights() -> None:
    """No wildcard, no delete, no namespaces, no nodes, no Secrets."""
    roles = [one for one in rbac.clusterwide() if one["kind"].endswith("Role")]
    rules = [rule for role in roles for rule in role["rules"]]
    verbs = {verb for rule in rules for verb in rule["verbs"]}
    assert verbs == {"get", "list", "watch", "create", "patch", "update"}
    assert rbac.CRD_RULE in rules
    assert not {"*", "namespaces", "nodes", "secrets"} & {what for rule in rules for what in rule["resources"]}


def test_namespaced() -> None:
    """Roles alone."""
    made = rbac.namespaced("shop")
    assert {one["kind"] for one in made} == {"ServiceAccount", "Role", "RoleBinding"}
    assert rbac.CRD_RULE not in [rule for one in made for rule in one.get("rules", ())]
    assert rbac.token_reader("shop-control", "shop")[0]["rules"][0]["resourceNames"] == ["shop-control"]
