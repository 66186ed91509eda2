from __future__ import annotations

import pytest

from services.api.routes.public import prefers_html


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        ("", False),
        ("*/*", False),
        ("application/json", False),
        ("text/html", True),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),
        ("application/json, text/html;q=0.5", False),
        ("text/html;q=0.5, application/*", False),
        ("text/html;q=x", False),
        ("text/html;q=0", False),
    ],
)
def test_browsers_get_html(accept: str, html: bool) -> None:
    """HTML only for who names it with more weight than JSON."""
    assert prefers_html(accept) is html
