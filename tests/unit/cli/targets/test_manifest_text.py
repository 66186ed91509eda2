"""A text given other values: what is asked for holds, and what does not change stays as it was written."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from services.cli.commands.edit import counted, paused
from services.cli.targets.manifest_text import rewritten
from services.schema.documents import load
from services.schema.scalable_api import MAX_BYTES, load_manifest

SAMPLES = sorted(Path("manifests/samples").glob("*.yaml"))
WIDE = """\
spec:
  # the parts
  components:
  - name: api     # the one that works
    # never fewer than two
    minReplicas: 2
    behavior:
      scaleUp:                  # many words about it
        {select: Max,           # more
         policies: [{type: Pods,   # and more
                     value: 4, period: 15s}]}

  # the door
  - {name: gateway, minReplicas: 1}   # one
  # limits
  tiers:
    definitions:                # by rank
    - {name: free, policies: [{name: free, quota: 5, window: 60}]}  # for all
    # who pays
    - name: pro
      policies:
      - {name: pro, quota: 50, window: 60}     # each minute
      # in a second
      - {name: pro-burst, quota: 5, window: 1}
  # budget: {maxReplicaHours: 5}
"""


def values(text: str) -> Any:
    return load(text.encode(), max_bytes=MAX_BYTES).value


def comments(text: str) -> list[str]:
    return re.findall(r"#[^\n]*", text)


def changed(text: str, change: Any) -> str:
    wanted = copy.deepcopy(values(text))
    change(wanted)
    return rewritten(text, wanted)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_each_sample_survives_each_edit(path: Path) -> None:
    """Scaled and paused, each sample is valid and has its comments; at most six lines are other than before."""
    text = path.read_text()
    made = changed(text, lambda body: counted(body["spec"], "api", 3))
    made = changed(made, lambda body: paused(body, ["up", "tiers"], on=True, reason="a: b"))
    spec = load_manifest(made.encode()).spec
    assert (spec.replicas, spec.component("api").mode, spec.paused.scale_up) == (3, "Manual", True)  # type: ignore[union-attr]
    assert comments(made) == comments(text)
    assert len(set(made.splitlines()) - set(text.splitlines())) <= 6


def test_only_the_line_changes() -> None:
    """A member more stands behind the last one, before the comment that belongs to what follows."""
    made = changed(WIDE, lambda body: counted(body["spec"], "gateway", 3))
    assert made == WIDE.replace("minReplicas: 1}", "minReplicas: 1, mode: Manual, replicas: 3}")
    made = changed(WIDE, lambda body: counted(body["spec"], "api", 3))
    before = "value: 4, period: 15s}]}\n"
    expected = WIDE.replace(before, before + "    mode: Manual\n")
    burst = "quota: 5, window: 1}\n"
    assert made == expected.replace(burst, burst + "  replicas: 3\n")


def test_tiers_are_edited_one_by_one() -> None:
    """A tier changed, one gone with its lines, one more at its place in the order: the other lines stay."""

    def change(body: dict[str, Any]) -> None:
        free, pro = body["spec"]["tiers"]["definitions"]
        pro["policies"][0]["quota"] = 60
        pro["policies"].pop()
        body["spec"]["tiers"]["definitions"] = [free, {"name": "plus", "policies": [{"name": "plus", "quota": 9}]}, pro]

    made = changed(WIDE, change)
    expected = WIDE.replace("quota: 50", "quota: 60").replace("      - {name: pro-burst, quota: 5, window: 1}\n", "")
    new = "    - name: plus\n      policies:\n      - {name: plus, quota: 9}\n"
    assert made == expected.replace("    # who pays\n", new + "    # who pays\n")


def test_windows_line_ends_and_no_newline_at_the_end() -> None:
    """Both are read and edited."""
    text = WIDE.replace("\n", "\r\n").removesuffix("\r\n")
    assert values(changed(text, lambda body: counted(body["spec"], "api", 3)))["spec"]["replicas"] == 3
    assert changed("spec:\n  a: 1", lambda body: body["spec"].update(b=2)) == "spec:\n  a: 1\n  b: 2"


def test_what_cannot_be_done_in_place_is_refused() -> None:
    """Dashes alone on their lines: an item cannot go without its dash, so nothing is written."""
    text = "spec:\n  a:\n  -\n    name: x\n  -\n    name: y\n"
    with pytest.raises(ValueError, match="layout"):
        changed(text, lambda body: body["spec"]["a"].pop())


NAMES = st.sampled_from("abcdef")
SCALARS = st.one_of(st.integers(-9, 9), st.booleans(), st.sampled_from(["x", "off", "# no", "a: b", "", "1"]))
NAMED = st.lists(NAMES, unique=True, min_size=1, max_size=4).flatmap(
    lambda names: st.tuples(
        *(st.fixed_dictionaries({"name": st.just(n)}, optional={"v": SCALARS, "w": SCALARS}) for n in names)
    ).map(list)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.dictionaries(NAMES, inner, max_size=3), st.lists(inner, max_size=3), NAMED),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(NAMES, VALUES, min_size=1, max_size=4)


@given(before=DOCUMENTS, after=DOCUMENTS, style=st.sampled_from([None, False, True]), width=st.sampled_from([10, 200]))
def test_whatever_is_asked_for_holds(before: Any, after: Any, style: bool | None, width: int) -> None:
    """Any document to any other, in block, flow and mixed style, with a comment on each line and between lines."""
    plain = yaml.safe_dump({"spec": before}, default_flow_style=style, width=width, sort_keys=False)
    text = "".join(f"{line} # {n}\n# between\n" for n, line in enumerate(plain.splitlines()))
    if values(text) != {"spec": before}:
        return  # a comment inside a scalar that spans lines
    assert values(rewritten(text, {"spec": after})) == {"spec": after}
    assert rewritten(text, {"spec": before}) == text
