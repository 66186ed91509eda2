from __future__ import annotations

from services.gateway.lookups import FLIGHTS, Flights


def test_one_flight_serves_all_who_wait():
    """The second asker joins the first one's look-up; both hear one answer."""
    flights: Flights[str] = Flights()
    heard: list[str] = []
    assert not flights.join(b"k", heard.append)
    assert flights.open(b"k", "name", heard.append) is not None
    assert flights.join(b"k", heard.append)
    assert not flights.has_room(b"k")
    flights.land(b"k", "answer")
    assert heard == ["answer", "answer"]
    assert flights.has_room(b"k")


def test_there_are_never_too_many():
    """Past the bound nothing takes off until something has landed; half of it is only for those that somebody waits for."""
    flights: Flights[str] = Flights()
    for number in range(FLIGHTS):
        assert flights.has_room(b"more") is (number < FLIGHTS // 2)
        assert flights.open(b"%d" % number, "", None) is not None
    assert flights.open(b"more", "", None) is None
    flights.land(b"0", "")
    assert flights.open(b"more", "", None) is not None


def test_a_waiter_may_ask_anew():
    """The flight is gone before its waiters hear."""
    flights: Flights[str] = Flights()
    again: list[bool] = []
    flights.open(b"k", "", lambda _answer: again.append(flights.open(b"k", "", None) is not None))
    flights.land(b"k", "")
    assert again == [True]


def test_soiling_marks_what_matches():
    """A message that arrives during a look-up marks it, and only it."""
    flights: Flights[str] = Flights()
    one, two = flights.open(b"1", "a", None), flights.open(b"2", "b", None)
    flights.soil(lambda flight: flight.name == "a")
    assert one is not None
    assert two is not None
    assert (one.dirty, two.dirty) == (True, False)
