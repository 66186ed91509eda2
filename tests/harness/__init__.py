"""The integration tests' machinery: waiting, real stores, real processes, load."""
