"""The bridge to verifiers where the package is not there; `tests/adapters` has it with the package."""

from __future__ import annotations

import sys

import pytest

from guerdon.errors import RecipeError
from guerdon.registry import build


def test_both_versions_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "verifiers", None)
    monkeypatch.setitem(sys.modules, "verifiers.v1", None)
    monkeypatch.setitem(sys.modules, "verifiers.v1.utils", None)
    with pytest.raises(RecipeError, match=r"needs verifiers >= 0\.4, and (none|[\d.]+) is installed"):
        build("task", {"use": "verifiers", "taskset": "sums"})
