"""`scalable-api up`: the whole platform on one machine; run.py reads top to bottom."""
