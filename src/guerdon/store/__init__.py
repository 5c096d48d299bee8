"""Runs on disk: a folder with config, metrics, rollouts, checkpoints and plots, safe against any kill."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_NAMES = {
    "Run": "run",
    "RunSummary": "compare",
    "compare_runs": "plots",
    "find_runs": "compare",
    "summarise": "compare",
}

if TYPE_CHECKING:
    from guerdon.store.compare import RunSummary, find_runs, summarise
    from guerdon.store.plots import compare_runs
    from guerdon.store.run import Run

__all__ = ["Run", "RunSummary", "compare_runs", "find_runs", "summarise"]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(f"guerdon.store.{_NAMES[name]}"), name)
    raise AttributeError(f"module 'guerdon.store' has no attribute {name!r}")
