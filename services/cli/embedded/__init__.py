"""Postgres and Valkey as children, from wheels or the system: the stores of `scalable-api up` and of the tests."""
