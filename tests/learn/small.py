"""A recipe that trains in a second or two, and what tests of the loop share."""

from __future__ import annotations

from typing import Any

from guerdon.learn.recipe import Recipe

TASK = {"use": "chain", "terms": 2, "max_operand": 9, "high": 20}


def small_recipe(**changes: Any) -> Recipe:
    data: dict[str, Any] = {
        "engine": {"use": "lab", "dim": 16, "layers": 1, "heads": 2, "context": 32},
        "task": TASK,
        "sampler": {"prompts": 4, "group": 4, "max_new_tokens": 8},
        "rewards": {"outcome": "task.outcome", "steps": "task.steps"},
        "credit": "outcome_and_steps",
        "optim": {"lr": 1e-3},
        "steps": 6,
        "eval": {"every": 3, "problems": 8},
        "checkpoint": {"every": 2},
        "save_rollouts_every": 3,
        "device": "cpu",
        "seed": 3,
    }
    return Recipe.from_dict({**data, **changes})
