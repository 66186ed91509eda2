from __future__ import annotations

from services.gateway.tier_book import TierBook
from services.schema.tiers import BUILT_IN, document


def test_criticality_by_tier():
    """The document's classes; a name it lacks counts as the default tier."""
    book = TierBook()
    book.use(BUILT_IN)
    assert [book.criticality(name) for name in ("anonymous", "free", "pro", "enterprise", "gone")] == [0, 1, 2, 3, 1]
    assert (book.known("pro"), book.known("gone")) == ("pro", "free")


def test_a_new_document_counts():
    """Anonymous and default tier are the document's."""
    book = TierBook()
    book.use(document(1, BUILT_IN.spec.model_copy(update={"default_tier": "pro", "anonymous_tier": "free"})))
    assert (book.anonymous, book.known("gone")) == ("free", "pro")
