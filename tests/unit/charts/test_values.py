"""values.yaml, its schema and README: every value has words and an example, whatever is valid renders, whatever is not is named."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from typing import Any, Final

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, settings
from hypothesis import given as drawing
from hypothesis import strategies as st

from tests import chart_generators
from tests.harness import chart_values, helm
from tests.harness.chart_values import Value, ValuesError, parse, schema_of, table, whole_schema
from tests.unit.charts.scenes import DEFAULT, merged, nested, values

charts = pytest.mark.parametrize("chart", DEFAULT)
NEEDED: Final[dict[str, dict[str, Any]]] = {
    "scalable-api": {"postgres.url": "postgresql://owner:secret@db/shop", "redis.url": "redis://valkey:6379/0"},
    "scalable-api-operator": {"crds.install": False},
}
OUR_OWN_RULES: Final = (
    r"terminationGracePeriodSeconds: \d+ is too short",
    r"httpRoute\.parentRefs: name the Gateway",
    r"scaling: minReplicas \d+ is more than maxReplicas \d+",
)
"""What a template refuses although each value fits its schema: rules over two values."""


@functools.cache
def tree(chart: str) -> tuple[Value, ...]:
    return parse((helm.CHARTS / chart / "values.yaml").read_text())


@functools.cache
def leaves(chart: str) -> list[Value]:
    return [leaf for value in tree(chart) for leaf in value.leaves()]


def branches(of: tuple[Value, ...]) -> Iterator[Value]:
    for value in of:
        if value.children:
            yield value
            yield from branches(value.children)


def refusal(chart: str, more: helm.Object) -> str:
    """What Helm says of the chart's plainest values with these over them."""
    with pytest.raises(helm.RenderError) as caught:
        helm.render(chart, merged(values(chart, DEFAULT[chart]), more))
    return str(caught.value)


@charts
def test_every_value_has_words_and_an_example_that_fits(chart: str) -> None:
    """`parse` refuses a value without a sentence or an example; each example and each default fits its own schema."""
    assert len(leaves(chart)) > 30
    for leaf in leaves(chart):
        schema = schema_of(leaf)
        jsonschema.validate(yaml.safe_load(leaf.words.example or ""), schema)
        if leaf.default is not None:
            jsonschema.validate(leaf.default, schema)


@charts
def test_an_unknown_key_is_refused_by_its_path(chart: str) -> None:
    """A slip of the pen anywhere in the tree is an error that says where."""
    assert "typo" in refusal(chart, {"typo": 1})
    for branch in branches(tree(chart)):
        if branch.path == ("global",):
            continue
        said = refusal(chart, nested(branch.path, {"typo": 1}))
        assert f"at '/{'/'.join(branch.path)}': additional properties 'typo' not allowed" in said


@charts
def test_a_wrong_type_is_refused_by_its_path(chart: str) -> None:
    """A list where a text, a number or a switch belongs is an error that says where."""
    scalars = [leaf for leaf in leaves(chart) if isinstance(leaf.default, str | int | bool)]
    assert scalars
    for leaf in scalars:
        assert f"at '/{'/'.join(leaf.path)}': " in refusal(chart, nested(leaf.path, ["x"]))


@charts
@pytest.mark.parametrize("handed", [{"enabled": True}, {"tags": {"edge": True}}, {"global": {"storageClass": "fast"}}])
def test_what_a_parent_hands_down_is_allowed(chart: str, handed: helm.Object) -> None:
    """A parent chart's condition, tags and global values don't break the schema."""
    assert helm.render(chart, merged(values(chart, DEFAULT[chart]), handed)).objects


@pytest.mark.parametrize(
    "entry",
    [
        {"name": "A"},
        {"name": "A", "value": "b"},
        {"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
    ],
)
@charts
def test_environment_takes_every_form(chart: str, entry: helm.Object) -> None:
    """extraEnv: value, valueFrom, or neither."""
    below = ("api",) if chart == "scalable-api" else ()
    rendered = helm.render(chart, merged(values(chart, DEFAULT[chart]), nested(below, {"extraEnv": [entry]})))
    env = [e for _, p in helm.pods(rendered) for c in helm.containers(p) for e in c.get("env") or ()]
    assert entry in env


def _drawn(leaf: Value) -> st.SearchStrategy[Any]:
    """Values that the leaf's schema takes: its enum, its range, either of a switch, its default and example."""
    schema = schema_of(leaf)
    plain = [x for x in (leaf.default, yaml.safe_load(leaf.words.example or "")) if x is not None]
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema.get("type") == "boolean":
        return st.booleans()
    if schema.get("type") == "integer":
        low = schema.get("minimum", 0)
        return st.integers(low, min(schema.get("maximum", low + 500), low + 500))
    if schema.get("type") == "string" and schema.keys() <= {"type", "description", "examples", "maxLength"}:
        longest = min(schema.get("maxLength", 53), 53)
        names = st.from_regex(rf"[a-z]([a-z0-9-]{{0,{longest - 2}}}[a-z0-9])?", fullmatch=True)
        return st.one_of(st.sampled_from(plain), names)
    return st.sampled_from(plain)


@functools.cache
def drawn(chart: str) -> dict[str, st.SearchStrategy[Any]]:
    return {leaf.name: _drawn(leaf) for leaf in leaves(chart) if not leaf.name.startswith("crds.")}


@st.composite
def valid(draw: st.DrawFn, chart: str) -> helm.Object:
    """Some values of the tree; not the CRD, which is large and depends on nothing else."""
    chosen = draw(st.lists(st.sampled_from(list(drawn(chart))), unique=True, max_size=20))
    trees = [nested(name.split("."), draw(drawn(chart)[name])) for name in chosen]
    return merged(*trees, *(nested(path.split("."), value) for path, value in NEEDED[chart].items()))


@charts
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@drawing(data=st.data())
def test_valid_values_render(chart: str, data: st.DataObject) -> None:
    """Whatever mixture of values the schema takes, the templates render it, or refuse it by a rule of ours in words."""
    given, refused = data.draw(valid(chart)), ""
    try:
        rendered = helm.render(chart, given)
    except helm.RenderError as error:
        refused = str(error)
    if refused:
        assert any(re.search(rule, refused) for rule in OUR_OWN_RULES), refused
        return
    assert rendered.kind("Deployment")
    assert all(len(thing["metadata"]["name"]) <= 63 for thing in rendered.objects)


@charts
def test_generated_files_are_the_charts(chart: str) -> None:
    """files/ holds the copies that the generator makes, and no stale one."""
    made = set(chart_generators.copies(chart))
    for below in ("alerts", "dashboards"):
        folder = helm.CHARTS / chart / "files" / below
        found = {str(f.relative_to(helm.ROOT)) for f in folder.glob("*")}
        assert found == {f for f in made if f"/files/{below}/" in f}


VALUES = """
# -- A tree.
gateway:
  # -- How many.
  # @schema {minimum: 1}
  # @example 3
  replicas: 2
  # -- Free inside.
  # @example {b: 2}
  free: {a: 1}
# -- Its twin.
# @as gateway
balancer:
  replicas: 5
  free: {a: 1}
# -- In two
# lines.
# @shape env
# @example [{name: A, value: b}]
env: []
"""


def test_words_become_schema() -> None:
    """Types come from defaults, bounds from tags, a twin's words from its model; branches are closed, leaves with examples free."""
    schema = whole_schema("t", parse(VALUES))["properties"]
    assert schema["gateway"]["additionalProperties"] is False
    assert schema["gateway"]["properties"]["free"]["type"] == "object"
    assert "additionalProperties" not in schema["gateway"]["properties"]["free"]
    replicas = {"description": "How many.", "examples": [3], "type": "integer", "minimum": 1}
    assert schema["gateway"]["properties"]["replicas"] == replicas
    assert schema["balancer"]["properties"]["replicas"] == replicas
    assert (
        schema["env"]
        == {"description": "In two lines.", "examples": [[{"name": "A", "value": "b"}]]} | chart_values.SHAPES["env"]
    )


def test_words_become_a_table() -> None:
    """A row for each leaf; of a twin, for what differs from its model alone."""
    rows = re.findall(r"^\| `(.*?)` \|.*\| `(.*?)` \| `(.*?)` \|$", table(parse(VALUES)), re.MULTILINE)
    assert rows == [
        ("gateway.replicas", "2", "3"),
        ("gateway.free", "{a: 1}", "{b: 2}"),
        ("balancer.replicas", "5", "3"),
        ("env", "[]", "[{name: A, value: b}]"),
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("# @example 1\na: 1\n", "a: needs a sentence"),
        ("# -- A.\na: 1\n", "a: needs an example"),
        ("# -- A\n# @example 1\na: 1\n", "a: 'A' is no sentence"),
        ("# -- A.\nb:\n  # @example 1\n  c: 1\n", "b.c: needs a sentence"),
        ("# -- A.\n# @exmaple 1\na: 1\n", "a: no tag @exmaple"),
        ("# -- A.\n# @shape round\n# @example 1\na: 1\n", "a: no shape round"),
    ],
)
def test_missing_words_are_named(text: str, complaint: str) -> None:
    """What is missing above which value."""
    with pytest.raises(ValuesError, match=re.escape(complaint)):
        parse(text)


def test_a_null_needs_a_type() -> None:
    """Null says no type, so the schema must."""
    with pytest.raises(ValuesError, match="a: its default is null"):
        whole_schema("t", parse("# -- A.\n# @example 1\na:\n"))
    assert schema_of(parse("# -- A.\n# @schema {type: integer}\n# @example 1\na:\n")[0])["type"] == "integer"


@charts
def test_readme_and_schema_are_whole(chart: str) -> None:
    """The README names each value that its chart's own table must; the schema is one that Helm 3 reads too."""
    readme = (helm.CHARTS / chart / "README.md").read_text()
    for value in tree(chart):
        assert f"`{value.name}" in readme
    schema = json.loads((helm.CHARTS / chart / "values.schema.json").read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"
