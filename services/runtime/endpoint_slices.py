"""`k8s:namespace/service:port`: the pods behind a Service, from its EndpointSlices, by list and watch over plain HTTPS.

No client library: two requests of one resource type are all there is to say, and kubernetes-client would be the data
path's largest dependency. The pod's ServiceAccount needs get, list and watch of `endpointslices`. How it goes on:

    list → watch from its resourceVersion → the API server ends it after WATCH_S → watch from the last event → …
    refused (410: too old to resume), or not understood → list again;  cut or silent → watch again, from the last event

After LIST_S it is listed anew in any case: a watch from a version that the API server has not reached yet, because its
etcd was restored from a backup, is accepted and stays mute. Pauses grow with failures in a row; meanwhile the last
answer stays. A Service without endpoints is an answer too. Where no pod is ready, those stay that were ready before:
what makes all of them red at once (a node without a free core, probes that come late) is seldom a reason to answer
nothing at all, and the callers' own probes, breakers and backoff still tell a dead one. Made by discovery.py.
https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from random import random, uniform
from time import monotonic
from typing import Any, Final

import httpx

from services.runtime.endpoints import EndpointInfo, Source, SourceError, authority, merged
from services.runtime.kube_api import ANSWER_S, RefusalError, check, decoded, in_cluster, lines

FIRST_WAIT_S: Final = 2.0  # start does not hang on a dead API server
WATCH_S: Final = 30  # then the API server ends it: a connection that died unnoticed costs no more than this
LIST_S: Final = 300.0
SILENCE_S: Final = 5.0  # beyond the end that was asked for: nobody is there
CALM_S: Final = 1.0  # a round that lasted so long was no failure
PAUSE_S: Final = 0.2
PAUSE_MAX_S: Final = 10.0
FAMILIES: Final = ("IPv4", "IPv6")
CONTROL: Final = "control"  # the port's name on every pod of ours
GONE: Final = 410
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_FORM: Final = re.compile(rf"({_LABEL})/({_LABEL}):(?:([1-9][0-9]{{0,4}})|((?=.*[a-z])[a-z0-9-]{{1,15}}))")


@dataclass(frozen=True, slots=True)
class Service:
    """`port`: what the pods listen on, by the name or the number it has in the slices (the Service's targetPort)."""

    namespace: str
    name: str
    port: str | int


@dataclass(frozen=True, slots=True)
class Slice:
    """What matters of one. `unready`: pods that are up and not ready. `lacks`: it has endpoints, but no such port; the
    ports it has.
    """

    endpoints: tuple[EndpointInfo, ...] = ()
    unready: tuple[EndpointInfo, ...] = ()
    lacks: str = ""


def service_of(text: str) -> Service | None:
    """`namespace/service:port`, or None where it is none."""
    match = _FORM.fullmatch(text)
    if match is None or (match[3] and int(match[3]) > 65535):
        return None
    return Service(match[1], match[2], int(match[3]) if match[3] else match[4])


class SliceSource(Source):
    def __init__(self, text: str, service: Service) -> None:
        super().__init__(text)
        self._port = service.port
        self._path = f"/apis/discovery.k8s.io/v1/namespaces/{service.namespace}/endpointslices"
        self._selector = f"kubernetes.io/service-name={service.name}"
        self._slices: dict[tuple[str, str], Slice] = {}
        self._served: frozenset[str] = frozenset()  # ids of pods that are there and were ready once
        self._version = ""  # empty: list first
        self._listed = 0.0  # monotonic

    async def first(self) -> None:
        try:
            async with asyncio.timeout(FIRST_WAIT_S), in_cluster().client() as http:
                await self._list(http)
        except TimeoutError:
            self._refuse("the API server did not answer in time")
        except (httpx.HTTPError, OSError, SourceError) as error:
            self._refuse(told(error))

    async def follow(self, changed: Callable[[], None]) -> None:
        failures = 0
        while True:
            begun = monotonic()
            await self._round(changed)
            failures = failures + 1 if monotonic() - begun < CALM_S else 0
            await asyncio.sleep(pause_s(failures, random()))  # noqa: S311  # spread, not secrecy

    async def _round(self, changed: Callable[[], None]) -> None:
        """A list if one is due, and one watch."""
        try:
            async with in_cluster().client() as http:
                due = not self._version or monotonic() - self._listed > LIST_S
                if due and await self._list(http):
                    changed()
                await self._watch(http, changed)
        except SourceError as error:
            self._version = ""  # whatever was refused or not understood: a fresh list is right again
            if not (isinstance(error, RefusalError) and error.status == GONE):
                self._refuse(told(error))
        except (httpx.HTTPError, OSError) as error:
            self._refuse(told(error))

    async def _list(self, http: httpx.AsyncClient) -> bool:
        answer = await http.get(self._path, params={"labelSelector": self._selector})
        check(answer)
        body = decoded(answer.content)
        with _reading("EndpointSliceList"):
            self._slices = {key_of(item): slice_of(item, self._port) for item in body.get("items") or ()}
            self._version = body["metadata"]["resourceVersion"]
        self._listed = monotonic()
        return self._merge()

    async def _watch(self, http: httpx.AsyncClient, changed: Callable[[], None]) -> None:
        """One watch until it ends, one way or the other; raises if it does not begin or what it says is no use."""
        seconds = int(WATCH_S * uniform(0.8, 1.2))  # noqa: S311  # all pods of a rollout would watch in step
        query = {
            "labelSelector": self._selector,
            "watch": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(seconds),
        }
        timeout = httpx.Timeout(ANSWER_S, read=seconds + SILENCE_S)
        async with http.stream("GET", self._path, params=query, timeout=timeout) as answer:
            if answer.is_error:
                await answer.aread()
            check(answer)
            self._readable()
            try:
                async for line in lines(answer):
                    if self._apply(decoded(line)):
                        changed()
            except httpx.TransportError:
                return  # cut or silent: the next one resumes where this one was

    def _apply(self, event: dict[str, Any]) -> bool:
        """One event of the watch; has `found` changed?"""
        with _reading("watch event"):
            kind, item = event["type"], event["object"]
            if kind == "ERROR":
                raise RefusalError(int(item["code"]), str(item.get("message", "")))
            self._version = item["metadata"]["resourceVersion"]
            if kind == "DELETED":
                self._slices.pop(key_of(item), None)
            else:
                self._slices[key_of(item)] = slice_of(item, self._port)
        return self._merge()

    def _merge(self) -> bool:
        """IPv4 before IPv6: a pod with both counts once, by its name."""
        ordered = [self._slices[key] for key in sorted(self._slices)]
        found = merged(one.endpoints for one in ordered)
        unready = merged(one.unready for one in ordered)
        self._served = frozenset(e.id for e in found) | self._served & {e.id for e in unready}
        if all(endpoint.draining for endpoint in found):
            found = merged([found, tuple(e for e in unready if e.id in self._served)])
        if not found and (lacks := next((one.lacks for one in ordered if one.lacks), "")):
            return self._refuse(f"the pods have no TCP port {self._port}; they have {lacks}")
        return self._accept(found)


def key_of(item: dict[str, Any]) -> tuple[str, str]:
    return (item["addressType"], item["metadata"]["name"])


def slice_of(item: dict[str, Any], port: str | int) -> Slice:
    """An EndpointSlice's endpoints at that port: each one's first address (the others are the same pod's). Without
    ports the slice stands for every port.
    """
    endpoints = item.get("endpoints") or ()
    if item["addressType"] not in FAMILIES or not endpoints:
        return Slice()
    listed = [one for one in item.get("ports") or () if one.get("protocol", "TCP") == "TCP" and one.get("port")]
    ports = {one.get("name") or "": int(one["port"]) for one in listed}
    everything = isinstance(port, int) and (port in ports.values() or not item.get("ports"))
    number = port if everything else ports.get(str(port))
    if not isinstance(number, int):
        return Slice(lacks=", ".join(f"{name} {n}".strip() for name, n in ports.items()) or "none")
    made = [(_endpoint(one, number, ports.get(CONTROL)), is_listed(one.get("conditions") or {})) for one in endpoints]
    return Slice(tuple(e for e, listed in made if listed), tuple(e for e, listed in made if not listed))


def is_listed(conditions: Mapping[str, Any]) -> bool:
    """Ready pods (unknown counts as ready), and terminating ones as long as they are there: they finish what they have."""
    return conditions.get("ready") is not False or bool(conditions.get("terminating"))


def pause_s(failures: int, draw: float) -> float:
    """Before the next round: doubling with failures in a row, `draw` in 0…1 spreads the upper half."""
    return min(PAUSE_MAX_S, PAUSE_S * 2 ** min(failures - 1, 16)) * (0.5 + 0.5 * draw) if failures else 0.0


def told(error: Exception) -> str:
    return str(error) if isinstance(error, SourceError) else f"{type(error).__name__}: {error}".rstrip(": ")


def _endpoint(one: dict[str, Any], port: int, control: int | None) -> EndpointInfo:
    host = one["addresses"][0]
    target = one.get("targetRef") or {}
    pod = target.get("name") if target.get("kind") == "Pod" else ""
    return EndpointInfo(
        pod or one.get("hostname") or authority(host, port),  # without a pod somebody wrote the slice by hand
        host,
        port,
        f"http://{authority(host, control)}" if control else "",
        draining=bool((one.get("conditions") or {}).get("terminating")),
    )


@contextlib.contextmanager
def _reading(what: str) -> Iterator[None]:
    """What is not shaped as the API promises is told as such."""
    try:
        yield
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise SourceError(f"not a {what}: {told(error)}") from None
