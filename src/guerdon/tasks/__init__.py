"""Problems with exact checkers: what lab models learn from and every reward method can be tried on.

Each task yields prompts, references and worked solutions in splits that never overlap, and checks answers
(and steps, where it has them) exactly.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_NAMES = {
    "Chain": "chain",
    "Corrupted": "corruption",
    "Countdown": "countdown",
    "GridWorld": "grid_world",
    "HopQuestions": "hop_world",
    "MDP": "mdp",
    "Problem": "base",
    "RandomCalculation": "random_calculation",
    "ReasoningGym": "reasoning_gym",
    "Task": "base",
    "ToolQuestions": "tool_world",
    "Unscorable": "base",
    "World": "worlds",
    "split_of": "base",
    "tabulate": "mdp",
}

if TYPE_CHECKING:
    from guerdon.tasks.base import Problem, Task, Unscorable, split_of
    from guerdon.tasks.chain import Chain
    from guerdon.tasks.corruption import Corrupted
    from guerdon.tasks.countdown import Countdown
    from guerdon.tasks.grid_world import GridWorld
    from guerdon.tasks.hop_world import HopQuestions
    from guerdon.tasks.mdp import MDP, tabulate
    from guerdon.tasks.random_calculation import RandomCalculation
    from guerdon.tasks.reasoning_gym import ReasoningGym
    from guerdon.tasks.tool_world import ToolQuestions
    from guerdon.tasks.worlds import World

__all__ = [
    "MDP",
    "Chain",
    "Corrupted",
    "Countdown",
    "GridWorld",
    "HopQuestions",
    "Problem",
    "RandomCalculation",
    "ReasoningGym",
    "Task",
    "ToolQuestions",
    "Unscorable",
    "World",
    "split_of",
    "tabulate",
]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(f"guerdon.tasks.{_NAMES[name]}"), name)
    raise AttributeError(f"module 'guerdon.tasks' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
