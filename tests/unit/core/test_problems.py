from __future__ import annotations

from services.core.problems import PROBLEMS


def test_every_problem_has_its_contract() -> None:
    """Slug, status and code are unique where they must be, and the old texts are kept."""
    assert all(slug == problem.slug for slug, problem in PROBLEMS.items())
    assert len({problem.code for problem in PROBLEMS.values()}) == len(PROBLEMS)
    assert {slug: (p.status, p.code, p.error) for slug, p in PROBLEMS.items()}.items() >= {
        "quota-exceeded": (429, "RATE_LIMITED", "Rate limit exceeded"),
        "abnormal-usage-detected": (429, "TOO_MANY_ATTEMPTS", "Too many attempts"),
        "invalid-token": (401, "INVALID_TOKEN", "Invalid or expired token"),
        "method-not-allowed": (405, "METHOD_NOT_ALLOWED", "Method not allowed"),
        "no-backend": (503, "NO_BACKEND", "No healthy backend servers available"),
        "gateway-timeout": (504, "TIMEOUT", "Gateway timeout"),
    }.items()


def test_type_uris() -> None:
    """Registered types are IANA's, the others ours."""
    base = "https://example.org/problems/"
    assert PROBLEMS["quota-exceeded"].uri(base) == "https://iana.org/assignments/http-problem-types#quota-exceeded"
    assert PROBLEMS["conflict"].uri(base) == "https://example.org/problems/conflict"


def test_who_closes_and_who_says_when() -> None:
    """Exactly the malformed or oversized close; 429 and 503 carry Retry-After."""
    closing = {problem.status for problem in PROBLEMS.values() if problem.closes}
    assert closing == {400, 408, 413, 414, 431, 501, 505}
    assert {problem.status for problem in PROBLEMS.values() if problem.retries} == {429, 503}
    assert all(problem.degraded == (problem.status == 503) for problem in PROBLEMS.values())
