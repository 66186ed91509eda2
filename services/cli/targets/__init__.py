"""Where the commands ask: the running local instance or a cluster, behind one Protocol (target.py)."""
