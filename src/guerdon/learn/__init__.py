"""Training policies from signals: objectives, the on-policy loop, evaluation, recipes."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_NAMES = {
    "Evaluation": "evaluation",
    "KL": "objective",
    "Objective": "objective",
    "Recipe": "recipe",
    "TabularPolicy": "tabular",
    "evaluate": "evaluation",
    "train": "loop",
    "warm_start": "warm",
}

if TYPE_CHECKING:
    from guerdon.learn.evaluation import Evaluation, evaluate
    from guerdon.learn.loop import train
    from guerdon.learn.objective import KL, Objective
    from guerdon.learn.recipe import Recipe
    from guerdon.learn.tabular import TabularPolicy
    from guerdon.learn.warm import warm_start

__all__ = ["KL", "Evaluation", "Objective", "Recipe", "TabularPolicy", "evaluate", "train", "warm_start"]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(f"guerdon.learn.{_NAMES[name]}"), name)
    raise AttributeError(f"module 'guerdon.learn' has no attribute {name!r}")
