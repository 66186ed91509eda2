"""All endpoints of this balancer: who is in service, who may be picked, and what happens to them.

Discovery, probes, the pools' connects, answers and people all report here; each report becomes an event of the
endpoint's table (endpoints.py), and a change of the set goes to the chooser at once. Nothing here waits or is awaited:
the loops that call `tick` and probe live in app.py and probing.py. `now` is the loop's monotonic clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from math import ceil
from time import monotonic
from typing import Final

from services.balancer.endpoints import (
    BY_DISCOVERY,
    BY_HAND,
    BY_PROBE,
    DRAINING,
    EJECTED,
    EMPTY,
    GOOD,
    HEALTHY,
    IN_SERVICE,
    OUT_OF_SERVICE,
    OUTLIER,
    RESTED,
    STARTING,
    STATES,
    UNHEALTHY,
    Endpoint,
    Way,
)
from services.balancer.series import Seconds
from services.core.balancing import PEAK_EWMA, Chooser
from services.core.breaker import CLOSED, OPEN, STATE_NAMES, Breaker, BreakerConfig, Transition
from services.core.gradient import Gradient
from services.core.outlier import Sample, after_clean_interval, judge, may_be_away
from services.core.retry_budget import RetryBudget, TryTimeout
from services.core.verdicts import Refusal
from services.runtime.endpoints import EndpointInfo
from services.runtime.log import get_log
from services.runtime.vitals import Events

PANIC_SHARE: Final = 0.5
RETRY_AFTER_MAX_S: Final = 30

MakePool = Callable[[EndpointInfo, Callable[[bool], None]], Way]
Key = tuple[str, int, str]
log = get_log(__name__)


class Fleet:
    """`chooser`, `budget`, `timeout` and `gradient` are what the stages read; `endpoints` is by address and id, so counters
    survive.
    """

    def __init__(self, policy: str, make_pool: MakePool, seconds: Seconds, events: Events) -> None:
        now = monotonic()
        self.chooser = Chooser(policy)
        self.peak = policy == PEAK_EWMA
        self.budget = RetryBudget(now)
        self.timeout = TryTimeout(now)
        self.gradient = Gradient(now)
        self.try_limit_s = 0.0  # what a try may take while another one is possible; 0: no limit
        self.config = BreakerConfig()
        self.percent: float = 50
        self.endpoints: dict[Key, Endpoint] = {}
        self.groups: dict[str, Chooser] = {}  # by version, for those that LB_VERSIONS names
        self.panic = False
        self.healthy = 0
        self.ejections: Counter[str] = Counter()  # by reason, since start
        self.transitions: Counter[tuple[str, str]] = Counter()  # by breaker and state entered
        self.on_joined: Callable[[Endpoint], None] = _nobody
        self.on_left: Callable[[Endpoint], None] = _nobody
        self._make_pool = make_pool
        self._seconds = seconds
        self._events = events

    # -- the set ------------------------------------------------------------------------------------------------------

    def sync(self, infos: tuple[EndpointInfo, ...]) -> None:
        """Discovery's newest answer."""
        now = monotonic()
        wanted = {(info.host, info.port, info.id): info for info in infos}
        for key in [key for key in self.endpoints if key not in wanted]:
            self._remove(self.endpoints.pop(key))
        joined = [self._add(key, info, now) for key, info in wanted.items() if key not in self.endpoints]
        for key, info in wanted.items():
            self._update(self.endpoints[key], info, now)
        self.rebuild(now)
        for endpoint in joined:
            self.on_joined(endpoint)

    def configure(self, config: BreakerConfig, percent: float) -> None:
        """The tiers document's `breaker`."""
        self.config = config
        self.percent = percent
        for endpoint in self.endpoints.values():
            endpoint.switch.configure(config)
        self._hold()

    def rebuild(self, now: float) -> None:
        """Who may be picked, after any change: those in service, or in panic all but the drained ones."""
        candidates = [endpoint for endpoint in self.endpoints.values() if endpoint.state not in OUT_OF_SERVICE]
        in_service = [endpoint for endpoint in candidates if endpoint.state in IN_SERVICE]
        self.healthy = sum(endpoint.state == HEALTHY for endpoint in candidates)
        panic = len(in_service) < PANIC_SHARE * len(candidates)
        if panic != self.panic:
            self.panic = panic
            self._tell("balancer.panic", "endpoints", "too few in service: all are used" if panic else "over", panic)
        self.chooser.replace(candidates if panic else in_service, now)
        self._group(candidates if panic else in_service, now)
        self._hold()

    def split(self, versions: Iterable[str]) -> None:
        """Keep a chooser for each of these versions."""
        self.groups = {version: Chooser(self.chooser.policy) for version in versions}

    def counts(self) -> Mapping[str, int]:
        found = Counter(endpoint.state for endpoint in self.endpoints.values())
        return {state: found[state] for state in STATES}

    def find(self, name: str) -> Endpoint | None:
        return next((endpoint for endpoint in self.endpoints.values() if endpoint.id == name), None)

    def nobody(self, now: float, *, asked: bool = True) -> Refusal:
        """Why there is none to pick, and when to ask again; `asked` by a request, which open breakers have then
        refused.
        """
        retry_after_s = max(1, min(RETRY_AFTER_MAX_S, ceil(self.chooser.soonest_s(now))))
        unclosed = [one.breaker for one in self.chooser.targets if one.breaker and one.breaker.state != CLOSED]
        if not unclosed:
            return Refusal("no-backend", "no-backend", retry_after_s=retry_after_s)
        for breaker in unclosed:
            breaker.rejected += asked
        first = min(unclosed, key=lambda breaker: breaker.until)
        facts = {"breaker": first.name, "circuitState": STATE_NAMES[first.state]}
        return Refusal("circuit-open", "circuit-open", retry_after_s=retry_after_s, facts=facts)

    # -- reports ------------------------------------------------------------------------------------------------------

    def connected(self, endpoint: Endpoint, ok: bool) -> None:
        """The pool's: a connect ended. A good one says little (a stopped process has a backlog too); a good answer
        does.
        """
        if ok:
            return
        now = monotonic()
        endpoint.blocked_until = max(now + 0.1, endpoint.pool.backoff_until)
        endpoint.last_error = "connect failed"
        self._stumble(endpoint, "connect", now)

    def timed_out(self, endpoint: Endpoint, now: float) -> None:
        """A try took longer than it may."""
        endpoint.last_error = "try timeout"
        self._stumble(endpoint, "try-timeout", now)

    def succeeded(self, endpoint: Endpoint, now: float) -> None:
        """A good answer of an endpoint that has `connect_fails` or is on probation (the stage asks before it calls)."""
        self._move(endpoint, GOOD, "answered", now)
        endpoint.connect_fails = 0
        endpoint.probation = False

    def probed(self, endpoint: Endpoint, good: bool, draining: bool, error: str) -> None:
        now = monotonic()
        if draining:
            self._move(endpoint, endpoint.drain(BY_PROBE), "says so itself", now)
            return
        if not good:
            endpoint.last_error = error
        elif endpoint.probe_fails:  # what requests met is not the probe's to take back
            endpoint.last_error = ""
        if good:
            self._move(endpoint, endpoint.undrain(BY_PROBE), "ready again", now)
        self._move(endpoint, endpoint.probed(good), "probe", now)

    def drain(self, endpoint: Endpoint, seconds: float) -> None:
        """By hand, from the next pick on, until `enable` or `seconds` are over."""
        now = monotonic()
        endpoint.drain_until = now + seconds
        self._move(endpoint, endpoint.drain(BY_HAND), "by hand", now)

    def enable(self, endpoint: Endpoint, reason: str = "enabled") -> None:
        """Ends a drain by hand, and one its own `/ready` asked for: the next probe will tell."""
        now = monotonic()
        endpoint.drain_until = 0.0
        event = endpoint.undrain(BY_HAND | BY_PROBE)
        self._move(endpoint, event, reason, now)
        endpoint.wake.set()

    # -- time ---------------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Ten times a second: loads, forces, ejections and drains whose time has come."""
        for endpoint in self.endpoints.values():
            if endpoint.switch.forced:
                endpoint.switch.expire(now)
            if endpoint.state == EJECTED and now >= endpoint.ejected_until:
                self._move(endpoint, RESTED, "rested", now)
            if endpoint.drain_until:
                if now >= endpoint.drain_until:
                    self.enable(endpoint, "time is over")
                elif endpoint.state == DRAINING and not endpoint.active:
                    self._move(endpoint, EMPTY, "empty", now)
        self.chooser.refresh(now)
        for group in self.groups.values():
            group.adopt(group.targets, now)
        self.timeout.refresh(now)
        possible = self.budget.tokens >= 1.0 and len(self.chooser.targets) > 1
        self.try_limit_s = self.timeout.seconds if possible else 0.0

    def second(self, now: float, passed_s: float) -> None:
        """Once a second: rates, and what time has added to the budget."""
        self.budget.refill(now)
        for endpoint in self.endpoints.values():
            endpoint.rps = (endpoint.requests - endpoint.requests_second) / passed_s
            endpoint.requests_second = endpoint.requests

    def eject_outliers(self, now: float) -> None:
        """Each ten seconds: those that fail far more than the others rest."""
        samples = [
            Sample(
                endpoint.id,
                endpoint.requests - endpoint.requests_before,
                endpoint.failures - endpoint.failures_before,
                endpoint.ejections,
            )
            for endpoint in self.endpoints.values()
            if endpoint.state == HEALTHY
        ]
        found = {ejection.id: ejection for ejection in judge(samples, self._cap() - self._away())}
        for endpoint in self.endpoints.values():
            endpoint.requests_before, endpoint.failures_before = endpoint.requests, endpoint.failures
            ejection = found.get(endpoint.id)
            if ejection is None:
                if endpoint.state == HEALTHY:
                    endpoint.ejections = after_clean_interval(endpoint.ejections)
                continue
            endpoint.ejections += 1
            endpoint.ejected_until = now + ejection.seconds
            reason = f"success rate {ejection.rate:.0%} is below {ejection.threshold:.0%}"
            self._move(endpoint, OUTLIER, reason, now)
            self.ejections["outlier"] += 1

    # -- inside -------------------------------------------------------------------------------------------------------

    def _group(self, endpoints: Sequence[Endpoint], now: float) -> None:
        for version, chooser in self.groups.items():
            chooser.adopt([endpoint for endpoint in endpoints if endpoint.info.version == version], now)

    def _add(self, key: Key, info: EndpointInfo, now: float) -> Endpoint:
        breaker = Breaker(info.id, self.config, now)
        endpoint = Endpoint(info, breaker, self._seconds.of(info.id), now)
        breaker.on_transition = partial(self._breaker_moved, endpoint)
        endpoint.pool = self._make_pool(info, partial(self.connected, endpoint))
        self.endpoints[key] = endpoint
        return endpoint

    def _update(self, endpoint: Endpoint, info: EndpointInfo, now: float) -> None:
        endpoint.info = info
        endpoint.weight = info.weight
        event = endpoint.drain(BY_DISCOVERY) if info.draining else endpoint.undrain(BY_DISCOVERY)
        if endpoint.move(event, now):
            log.info("endpoint changed", endpoint=endpoint.id, state=endpoint.state, reason="discovery")

    def _remove(self, endpoint: Endpoint) -> None:
        endpoint.pool.retire()
        self._seconds.drop(endpoint.id)
        for name in STATE_NAMES:
            self.transitions.pop((endpoint.id, name), None)
        self.on_left(endpoint)

    def _stumble(self, endpoint: Endpoint, reason: str, now: float) -> None:
        endpoint.wake.set()
        self._move(endpoint, endpoint.stumbled(), reason, now)

    def _move(self, endpoint: Endpoint, event: str, reason: str, now: float) -> None:
        before = endpoint.state
        if not endpoint.move(event, now):
            return
        if endpoint.state == UNHEALTHY:
            self.ejections[reason] += 1
        bad = endpoint.state in {UNHEALTHY, EJECTED}
        if not (before == STARTING and endpoint.state == HEALTHY):
            self._tell(f"endpoint.{endpoint.state}", endpoint.id, reason, bad)
        self.rebuild(now)

    def _breaker_moved(self, endpoint: Endpoint, breaker: Breaker, transition: Transition) -> None:
        name = STATE_NAMES[transition.target]
        self.transitions[breaker.name, name] += 1
        self._tell(f"breaker.{name}", breaker.name, transition.reason, transition.target == OPEN)
        if transition.target == CLOSED:
            endpoint.restart(transition.at)
            endpoint.probation = False  # half-opening was its probation
        self.rebuild(transition.at)

    def _cap(self) -> int:
        return may_be_away(sum(one.state not in OUT_OF_SERVICE for one in self.endpoints.values()), self.percent)

    def _away(self) -> int:
        """Ejected, or kept out by a breaker that status failures opened."""
        return sum(
            one.state == EJECTED or (one.switch.by_status and one.switch.state != CLOSED)
            for one in self.endpoints.values()
        )

    def _hold(self) -> None:
        held = self._away() >= self._cap()
        for endpoint in self.endpoints.values():
            endpoint.switch.held = held

    def _tell(self, kind: str, subject: str, message: str, bad: bool) -> None:
        severity = "warning" if bad else "info"
        self._events.add(kind, subject, message, severity)
        log.log(30 if bad else 20, kind, subject=subject, reason=message)


def _nobody(_endpoint: Endpoint) -> None:
    """Until the app says who wants to know."""
