"""`python -m tests.integration.upgrading COMPONENT`: the component as it is, with one more route, whose flag says that it may become a
WebSocket: `/echo`. The platform's own routes have none.
"""

from __future__ import annotations

import runpy
import sys

from services.core import routes

PATH = "/echo"
routes._EXACT[PATH.encode()] = routes.Route(PATH, frozenset({b"GET", b"HEAD"}), upgrade=True)

if __name__ == "__main__":
    runpy.run_module(f"services.{sys.argv[1]}", run_name="__main__", alter_sys=True)
