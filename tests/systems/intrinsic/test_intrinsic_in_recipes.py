"""Self-rewards train through a recipe, and the run is watched."""

import math

import pytest

from guerdon.learn.loop import Training
from guerdon.learn.recipe import Recipe


@pytest.mark.parametrize(
    "reward",
    [
        {"use": "mm-upt", "extract": "text", "equal": "text"},
        {"use": "empo", "extract": "text", "equal": "text"},
        {"use": "likelihood-rewards", "opening": ""},
        {"use": "rlp"},
        {"use": "self-aligned-reward"},
        {"use": "memory-r-plus"},
        {"use": "laser", "token": 3},
    ],
    ids=lambda spec: spec["use"],
)
def test_a_step_of_training(reward):
    recipe = Recipe.from_dict(
        {
            "engine": {"use": "lab", "dim": 16, "layers": 1, "heads": 2, "context": 64},
            "task": {"use": "chain", "terms": 2, "max_operand": 9, "high": 20},
            "sampler": {"prompts": 2, "group": 3, "max_new_tokens": 4},
            "rewards": {"outcome": reward},
            "credit": "rloo",
            "steps": 2,
            "device": "cpu",
        }
    )
    trainer = Training.build(recipe)
    for step in range(2):
        metrics, _ = trainer.step(step)
        assert not math.isnan(metrics["collapse/truth"])
        assert metrics["collapse/length"] > 0
