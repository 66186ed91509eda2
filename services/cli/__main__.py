"""`python -m services.cli`: how `up` starts its own demo."""

from __future__ import annotations

from services.cli.main import main

main()
