"""Mutated messages: the same for the same seed, bounded, and near to what they were made from."""

from __future__ import annotations

from difflib import SequenceMatcher
from random import Random

from tests.load.fuzz.mutate import MESSAGE_MAX, MUTATIONS, cuts, message
from tests.unit.http1.vectors import LONG, VECTORS

SEEDS = tuple(vector.data for vector in (*VECTORS, *LONG))


def test_same_seed_same_message() -> None:
    """A fault that was found is found again by its seed and number."""
    for number in range(50):
        one, other = Random(f"1 {number}"), Random(f"1 {number}")
        data = message(one, SEEDS)
        assert message(other, SEEDS) == data
        assert cuts(one, data) == cuts(other, data)
    assert len({message(Random(number), SEEDS) for number in range(200)}) > 190


def test_bounds() -> None:
    """Never empty, never longer than the bound; the parts are the message, none of them empty."""
    for number in range(500):
        random = Random(number)
        data = message(random, SEEDS)
        assert 0 < len(data) <= MESSAGE_MAX
        parts = cuts(random, data)
        assert b"".join(parts) == data
        assert all(parts)


def test_most_are_nearly_right() -> None:
    """Half of the messages are like some vector: a parser gets far in them."""
    made = [message(Random(number), SEEDS[:1]) for number in range(60)]
    near = [SequenceMatcher(None, SEEDS[0], data, autojunk=False).ratio() > 0.7 for data in made]
    assert sum(near) >= 30


def test_every_mutation_stands_an_empty_message() -> None:
    """The last byte may be gone before the next mistake is made."""
    for mutation in MUTATIONS:
        for number in range(20):
            data = bytearray()
            mutation(data, Random(number), SEEDS)
            assert isinstance(bytes(data), bytes)
