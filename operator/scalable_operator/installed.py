"""Is the CRD on the server of this version? An older one drops members that this version writes (operator.md §8).

The schema is additive: a newer CRD serves an older operator, so only an older one is told of. Without the right to read
it (a namespaced operator has none) nothing is known, and nothing is said.

Caller: backend, every half second; asked is once a minute, and every ten seconds while it is too old.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from scalable_operator.kube import Answer, Kube, Place
from services.runtime.log import get_log
from services.schema.crd import GROUP, PLURAL, SCHEMA_VERSION

NAME: Final = f"{PLURAL}.{GROUP}"
ANNOTATION: Final = f"{GROUP}/schema-version"
EVERY_S: Final = 60.0
AGAIN_S: Final = 10.0
CRD: Final = Place("apiextensions.k8s.io", "v1", "customresourcedefinitions", name=NAME)

log = get_log(__name__)


class Installed:
    """`outdated`: what is wrong and what to do about it, for every object's condition; '' when nothing is."""

    def __init__(self, kube: Kube, clock: Callable[[], float] = time.monotonic) -> None:
        self._kube, self._clock = kube, clock
        self._next_s = 0.0
        self.outdated = ""

    async def look(self) -> bool:
        """True when `outdated` is another one now."""
        if self._clock() < self._next_s:
            return False
        before, self.outdated = self.outdated, _outdated(await self._kube.get(CRD))
        self._next_s = self._clock() + (AGAIN_S if self.outdated else EVERY_S)
        if self.outdated and self.outdated != before:
            log.warning("unsupported version", why=self.outdated)
        return self.outdated != before


def _outdated(answer: Answer) -> str:
    """A CRD that does not say its version is older than all that do."""
    said = (answer.body.get("metadata") or {}).get("annotations") or {}
    version = said.get(ANNOTATION, "0")
    if not answer.ok or (version.isdigit() and int(version) >= SCHEMA_VERSION):
        return ""
    return f"CustomResourceDefinition {NAME} is of schema version {version}, this operator needs {SCHEMA_VERSION}: apply its release's"
