"""Times to head per endpoint, for `balancer_upstream_seconds`: at most 64 endpoints have a label, the others share
`other`.
"""

from __future__ import annotations

from typing import Final

from services.runtime.metrics import OTHER, Histogram, Series

LABELLED_MAX: Final = 64


class Seconds:
    def __init__(self, family: Histogram) -> None:
        self._family = family
        self.labelled: set[str] = set()

    def of(self, name: str) -> Series:
        """The series an endpoint observes into; fetched once."""
        if len(self.labelled) >= LABELLED_MAX and name not in self.labelled:
            return self._family.series(OTHER)
        self.labelled.add(name)
        return self._family.series(name)

    def drop(self, name: str) -> None:
        if name in self.labelled:
            self.labelled.discard(name)
            self._family.drop("endpoint", name)

    def label(self, name: str) -> str:
        return name if name in self.labelled else OTHER
