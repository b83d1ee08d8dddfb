"""What every error answer must look like."""

from __future__ import annotations

from typing import Any

from httpx import Response


def problem_of(response: Response, status: int, slug: str) -> dict[str, Any]:
    """The problem in an answer, checked to be RFC 9457's and to be this one."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem["type"] == f"urn:worldsift:problem:{slug}"
    assert problem["status"] == status
    assert problem["title"] and problem["detail"]
    assert "Traceback" not in response.text
    return problem
