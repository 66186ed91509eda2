"""Our reading of "a valid request is accepted" for schemathesis, which imports this module (SCHEMATHESIS_HOOKS).

Its own check calls every 400 to a request that fits the schema a failure. JSON Schema cannot say some of our rules; a
400 is right only if one of them was broken, and each must be named here.
"""

from __future__ import annotations

import json
import re
from typing import Any

import schemathesis

BEYOND_SCHEMA = (
    r"^page times limit must be at most",  # two parameters together
    r"^must be in the future",  # the clock
    r"^there is no tier ",  # the tiers document
    r"^may only become fewer",  # what the key has now
    r"^Input should be a valid integer$",  # 60.0, which JSON Schema counts as an integer
    r"^control characters are not allowed$",  # strings of one line, and …
    r"^holds NUL or a lone surrogate",  # … what is no character
    r"^must be one quoted string",  # Idempotency-Key, which schemathesis sometimes fills from other answers
)


@schemathesis.check
def valid_is_accepted(_context: Any, response: Any, case: Any) -> None:
    """A request that fits the document is refused only for a rule that no schema can say."""
    meta = getattr(case, "meta", None)
    if meta is None or not meta.generation.mode.is_positive or response.status_code not in {400, 413, 415, 422}:
        return
    details = json.loads(response.content).get("details", [])
    told = [d["message"] for d in details]
    if not told or not all(any(re.match(rule, text) for rule in BEYOND_SCHEMA) for text in told):
        raise AssertionError(f"{response.status_code} to a valid request: {response.content.decode()}")
