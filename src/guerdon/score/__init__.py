"""Saved rollouts through rewards: streaming, cached, in parallel, resumable.

`score_file` is the whole of it; `guerdon score` calls it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_NAMES = {"Limits": "pool", "Options": "report", "Report": "report", "score_file": "job"}

if TYPE_CHECKING:
    from guerdon.score.job import score_file
    from guerdon.score.pool import Limits
    from guerdon.score.report import Options, Report

__all__ = ["Limits", "Options", "Report", "score_file"]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(f"guerdon.score.{_NAMES[name]}"), name)
    raise AttributeError(f"module 'guerdon.score' has no attribute {name!r}")
