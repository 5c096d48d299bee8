"""One server for all tests that do not change it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def open_server() -> Iterator[str]:
    """Exact match and a reward of groups, no token."""
    from running_server import LengthOfGroup, serving  # skips where the extra is not installed

    with serving({"match": "verify.match", "length": LengthOfGroup()}) as url:
        yield url
