"""Published credit methods with the learned pieces they need, each as a recipe that runs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small import small_recipe

from guerdon.learn.loop import train
from guerdon.store import Run


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


OUTCOME = {"outcome": "task.outcome"}
GRID = {
    "task": {"use": "grid_world", "size": 3, "moves": [2, 3], "max_turns": 3},
    "sampler": {"prompts": 2, "group": 4, "max_new_tokens": 2},
    "engine": {"use": "lab", "dim": 16, "layers": 1, "heads": 2, "context": 128},
}
RECIPES = {
    "prime": {
        "rewards": {**OUTCOME, "implicit": {"use": "models.implicit", "lr": 1e-3}},
        "credit": "prime",
    },
    "oprl-istar": {
        "rewards": {
            **OUTCOME,
            "implicit": {"use": "models.implicit", "loss": "preference", "aggregate": "mean", "lr": 1e-3},
        },
        "credit": "oprl-istar",
    },
    "pure": {
        "rewards": {**OUTCOME, "steps": "task.steps", "prm": {"use": "models.classifier", "lr": 1e-3}},
        "credit": {"use": "pure", "temperature": 0.1},
    },
    "vsrm": {
        "rewards": {**OUTCOME, "forced_acc": {"use": "models.forced_answers", "cue": "#", "k": 2}},
        "credit": "vsrm",
    },
    "mrt": {
        "models": {"probe": {"use": "forced_answers", "cue": "#", "k": 2, "last": "outcome"}},
        "credit": "mrt",
    },
    "pav": {
        "models": {"prover": {"use": "prefix_values", "k": 2, "max_new_tokens": 8}},
        "credit": {"use": "pav", "alpha": 1.0},
    },
    "gae": {"models": {"critic": {"use": "critic", "lr": 1e-3}}, "credit": "gae"},
    "archer": {
        **GRID,
        "models": {
            "critic": {
                "use": "utterance_critic",
                "max_new_tokens": 2,
                "stop": ["\n"],
                "lr": 1e-3,
                "inner": [8],
            }
        },
        "credit": "archer",
    },
    "spa-rl": {
        **GRID,
        "rewards": {**OUTCOME, "contribution": {"use": "models.progress", "lr": 1e-3}},
        "models": {"critic": {"use": "critic", "lr": 1e-3}},
        "objective": {"use": "ppo", "kl": {"coef": 0.01}},
        "credit": "spa-rl",
    },
    "igpo": {
        **GRID,
        "task": {"use": "hops", "max_turns": 2},
        "engine": {"use": "lab", "dim": 16, "layers": 1, "heads": 2, "context": 1024},
        "rewards": {
            **OUTCOME,
            "answer_logprob": {"use": "models.answer_logprob", "cue": "answer ", "answer": "answer"},
        },
        "credit": "igpo",
    },
}


@pytest.mark.parametrize("method", RECIPES)
def test_the_method_trains_with_what_it_needs(tmp_path, method, monkeypatch):
    monkeypatch.setattr(Run, "plot", lambda self: [])
    recipe = small_recipe(
        **{"steps": 2, "eval": {"every": 0}, "save_rollouts_every": 1, "rewards": OUTCOME, **RECIPES[method]}
    ).validate()
    with Run.create(tmp_path / "run", recipe.to_dict()) as run:
        training = train(recipe, run)
    advantages = training.batch.advantages
    assert advantages is not None and np.isfinite(advantages.values).all()
    metrics = run.metrics()
    assert np.isfinite(metrics["loss"][1:]).all()
    if method in ("vsrm", "mrt", "pav"):
        name = {"vsrm": "forced_acc", "mrt": "probe", "pav": "prover"}[method]
        assert (metrics[f"models/{name}/tokens"][1:] > 0).all()
