from __future__ import annotations

from services.gateway.limiter.local import Peers, StoreClock
from tests.unit.gateway.limiter.store import Caller, Gateway, Store


def test_clock_follows_the_store() -> None:
    """The median of the last replies; the wall clock before any."""
    clock = StoreClock(5_000_000, 1.0)
    assert clock.us(2.0) == 6_000_000
    for delay in (0, 0, 1, 900_000, 2):
        clock.heard(10_000_000 - delay, 1.0)
    assert clock.us(1.5) == 10_500_000 - 1


def test_peers_keep_the_largest_of_ten_seconds() -> None:
    """A restarting gateway does not raise the others' share; a failed source changes nothing."""
    peers = Peers()
    assert [peers.count(n, at) for n, at in ((3, 0), (2, 5), (0, 9), (2, 9.9), (2, 10.1), (0, 99), (4, 99.5))] == [
        3,
        3,
        3,
        3,
        2,
        2,
        4,
    ]


def test_shares_admit_the_quota_together() -> None:
    """Four gateways, Redis away from the start: together exactly 100, each marked as degraded."""
    store = Store()
    store.away = True
    gateways, callers = [Gateway(store, gateways=4) for _ in range(4)], [Caller() for _ in range(4)]
    assert sum(g.admitted(c, 60) for g, c in zip(gateways, callers, strict=True)) == 100
    assert gateways[0].ask(callers[0]).degraded


def test_the_running_window_is_carried_into_the_outage() -> None:
    """What Redis had counted is divided among the gateways at the switch."""
    store = Store()
    gateways, callers = [Gateway(store, gateways=2) for _ in range(2)], [Caller() for _ in range(2)]
    used = sum(g.admitted(c, 30) for g, c in zip(gateways, callers, strict=True))
    store.away = True
    assert used + sum(g.admitted(c, 100) for g, c in zip(gateways, callers, strict=True)) <= 115


def test_redis_learns_what_was_admitted_meanwhile() -> None:
    """On return `own` joins the live counter: the window stays within its quota."""
    store, caller = Store(), Caller()
    gateway = Gateway(store)
    admitted = gateway.admitted(caller, 40)
    store.away = True
    admitted += gateway.admitted(caller, 20)
    store.away = False
    admitted += gateway.admitted(caller, 100)
    assert admitted == 100


def test_an_empty_redis_learns_the_whole_window() -> None:
    """`full` starts the window that a restarted Redis does not know."""
    store, caller = Store(), Caller()
    gateway = Gateway(store)
    admitted = gateway.admitted(caller, 40)
    store.away = True
    admitted += gateway.admitted(caller, 20)
    store.away = False
    store.counters.keys.clear()
    admitted += gateway.admitted(caller, 100)
    assert admitted == 100


def test_an_outage_over_the_windows_end() -> None:
    """A window that ended meanwhile is told to nobody; a burst's backlog is what is left of it."""
    store, caller = Store(), Caller("key:a", "free")
    gateway = Gateway(store)
    store.away = True
    assert gateway.admitted(caller, 700) == 500
    store.away = False
    assert not gateway.ask(caller).admitted  # the backlog of the burst came along
    store.now = 61.0
    store.away = True
    gateway.admitted(caller, 10)
    store.away = False
    store.now = 122.0
    assert gateway.ask(caller).admitted
    assert gateway.ask(caller).readings[0].used == 2


def test_a_lost_command_is_not_forgotten() -> None:
    """The command that carried `own` got no answer: the next one carries it again, better twice than never."""
    store, caller = Store(), Caller()
    gateway = Gateway(store)
    store.away = True
    gateway.admitted(caller, 20)
    store.away = False
    subject = gateway.limiter.subject(caller, "", store.now)
    got: list[bool] = []
    assert gateway.limiter.check(subject, 1, store.now, lambda _, d: got.append(d.degraded), None) is None
    gateway.batch.lose()
    assert got == [True]
    assert gateway.ask(caller).readings[0].used == 22


def test_open_policies_admit_and_closed_ones_keep_half() -> None:
    """onStoreFailure per policy."""
    store = Store()
    store.away = True
    gateway = Gateway(store, gateways=5)
    guard = gateway.limiter.guard("login-ip", "192.0.2.1")
    assert guard is not None
    results = [gateway.limiter.check(guard, 1, 0.0, lambda *_: None, None) for _ in range(15)]
    assert sum(d is not None and d.admitted for d in results) == 10


def test_an_empty_store_learns_all_it_had_counted() -> None:
    """Of four gateways only the first to return meets an empty store: it tells what Redis had counted for all."""
    store = Store()
    gateways = [Gateway(store, gateways=4) for _ in range(4)]
    for _ in range(20):
        assert all(gateway.ask(Caller()).admitted for gateway in gateways)
    store.away = True
    assert sum(gateway.ask(Caller()).admitted for gateway in gateways) == 4
    store.away = False
    store.counters.keys.clear()
    admitted = sum(gateway.ask(Caller()).admitted for _ in range(20) for gateway in gateways)
    assert 15 <= admitted <= 20
