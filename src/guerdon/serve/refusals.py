"""A request that is not served, and why."""

from __future__ import annotations

from collections.abc import Mapping

from guerdon.errors import GuerdonError


class Refusal(GuerdonError):
    """An answer with an HTTP status that is no success.

    Args:
        status: 4xx where the request is at fault, 5xx where the server is.
        message: what was wrong, what was expected.
        headers: to be sent along.
    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.headers = status, dict(headers or {})
