"""Request figures out of a process's `/metrics` text: counts by method, route and status, durations by method and
route.

A reader for our own exposition only, of the few families needed: a page must not hold the loop while five thousand
series of each process are made into objects. Called by fleet/metrics.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
Endpoint = tuple[str, str]  # method, route


@dataclass(slots=True)
class Durations:
    """Observations per bucket (not cumulated; the last is +Inf) and their sum in seconds."""

    counts: list[float] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(slots=True)
class Figures:
    """What one life of one process has counted."""

    started: str = ""  # process_start_time_seconds as written: tells one life from the next
    requests: dict[tuple[str, str, str], float] = field(default_factory=dict)  # method, route, status
    durations: dict[Endpoint, Durations] = field(default_factory=dict)


def read(text: str, component: str) -> Figures:
    """The figures of `component`'s own families (`<component>_http_…`)."""
    figures = Figures()
    requests, bucket = f"{component}_http_requests_total{{", f"{component}_http_request_duration_seconds_bucket{{"
    total = f"{component}_http_request_duration_seconds_sum{{"
    cumulated: dict[Endpoint, list[float]] = {}
    for line in text.splitlines():
        if line.startswith("process_start_time_seconds "):
            figures.started = line.split(" ")[1]
        elif line.startswith((requests, bucket, total)):
            labels, value = _sample(line)
            endpoint = labels.get("method", ""), labels.get("route", "")
            if line.startswith(requests):
                figures.requests[(*endpoint, labels.get("status", ""))] = value
            elif line.startswith(bucket):
                cumulated.setdefault(endpoint, []).append(value)
            else:
                figures.durations.setdefault(endpoint, Durations()).seconds = value
    for endpoint, counts in cumulated.items():
        steps = [b - a for a, b in zip([0.0, *counts], counts, strict=False)]
        figures.durations.setdefault(endpoint, Durations()).counts = steps
    return figures


def _sample(line: str) -> tuple[dict[str, str], float]:
    head, _, value = line.partition(" # ")[0].rpartition(" ")
    if "}" in value:  # a timestamp is not part of our exposition
        return {}, 0.0
    return dict(_LABEL.findall(head)), float(value)
