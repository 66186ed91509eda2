"""The table of tests/harness/crd_cases.py on real API servers: server-side dry run with field validation Strict."""

from __future__ import annotations

import re

import httpx
import pytest

from tests.cluster.client import APPLY, Client, Object, scalable_apis
from tests.harness.crd_cases import CASES, Case

STRICT = {"dryRun": "All", "fieldValidation": "Strict"}
ROWS = [case for case in CASES if case.by != "model"]


def given(client: Client, case: Case, namespace: str) -> httpx.Response:
    """The API server's answer to the row: to a new object, or over the one before."""
    if case.before is None:
        return client.ask("POST", scalable_apis(namespace), _here(case.manifest), **STRICT)
    path = scalable_apis(namespace, case.manifest["metadata"]["name"])
    client.do("PATCH", path, case.before, kind=APPLY, fieldManager="test")
    return client.ask("PATCH", path, case.manifest, kind=APPLY, fieldManager="test", **STRICT)


def _here(manifest: Object) -> Object:
    """A sample names the namespace that README installs to; here it is the request's."""
    named = {key: value for key, value in manifest["metadata"].items() if key != "namespace"}
    return {**manifest, "metadata": named}


SAID = {
    "at least": r"should be greater than or equal to|should have at least",
    "at most": r"should be less than or equal to|must have at most",
    "is refused": r"Too long|should match|should be at least",
    "is not one of its values": r"Unsupported value",
    "is not a field here": r"unknown field",
    "is missing": r"Required value",
    "stands twice": r"Duplicate value",
    "is no number": r"should match",
    "is neither": r"must be of type|Invalid value|Required value",
}
"""What the models say → what API servers say of the same; where a rule tells, both say the same."""


def fields(refusal: Object) -> list[str]:
    """The fields it names; one that is not in the schema stands only in the sentence."""
    unknown = re.findall(r'unknown field "([^"]+)"', refusal["message"])
    return [*unknown, *(cause["field"] for cause in refusal.get("details", {}).get("causes", ()))]


def words(case: Case) -> str:
    """What the refusal must say, as a pattern."""
    return (
        re.escape(case.said) if case.rule else next((w for said, w in SAID.items() if case.said.startswith(said)), "")
    )


@pytest.mark.parametrize("case", [case for case in ROWS if case.accepted], ids=lambda case: case.name)
def test_accepted(case, client: Client, namespace):
    """Each accepted row of the table is accepted."""
    answer = given(client, case, namespace)
    assert answer.is_success, answer.text


@pytest.mark.parametrize("case", [case for case in ROWS if not case.accepted], ids=lambda case: case.name)
def test_refused(case, client: Client, namespace):
    """Each refused row is refused, at the table's field or one step below it, in the rule's words or the API server's."""
    answer = given(client, case, namespace)
    assert answer.is_client_error
    refusal = answer.json()
    at = re.compile(re.escape(case.field) + r"(\[\d+\]|\.\w+)?")
    assert [field for field in fields(refusal) if at.fullmatch(field)], refusal["message"]
    assert re.search(words(case), refusal["message"]), refusal["message"]
