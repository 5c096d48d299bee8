"""One server for all tests that do not change it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")

from running_server import LengthOfGroup, serving


@pytest.fixture(scope="session")
def open_server() -> Iterator[str]:
    """Exact match and a reward of groups, no token."""
    with serving({"match": "verify.match", "length": LengthOfGroup()}) as url:
        yield url
