"""Recipes whose task is a world: they train, resume to the same bytes, save what they saw, and learn."""

from __future__ import annotations

import numpy as np
import pytest
from small import small_recipe
from worlds_for_tests import WORLD, letters_engine

from guerdon import read
from guerdon.engines.protocol import Sampling
from guerdon.errors import RecipeError
from guerdon.learn.evaluation import evaluate
from guerdon.learn.loop import Training, train
from guerdon.learn.recipe import Recipe
from guerdon.learn.sampling import sample
from guerdon.learn.warm import warm_start
from guerdon.store import Run

GRID = {"use": "grid_world", "size": 3, "moves": [1, 4], "max_turns": 3}
ENGINE = {"use": "lab", "dim": 16, "layers": 1, "heads": 2, "context": 200}


def world_recipe(**changes):
    base = {
        "engine": ENGINE,
        "task": GRID,
        "sampler": {"prompts": 2, "group": 4, "max_new_tokens": 3},
        "rewards": {"outcome": "task.outcome", "steps": "task.steps"},
        "credit": {"use": "outcome_and_steps"},
        "eval": {"every": 2, "problems": 3},
        "save_rollouts_every": 2,
        "steps": 4,
    }
    return small_recipe(**{**base, **changes})


def run_recipe(folder, recipe, resume=False, **kwargs):
    with Run.start(folder, recipe.to_dict(), resume) as run:
        train(recipe, run, resume=resume, **kwargs)
    return run


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"task": {"use": "tools"}, "sampler": {"prompts": 2, "group": 2, "turns": 2, "max_new_tokens": 4}},
        {"task": {"use": "hops"}, "sampler": {"prompts": 2, "group": 2, "turns": 2, "max_new_tokens": 4}},
        {"sampler": {"prompts": 2, "group": 6, "max_new_tokens": 3, "branch": {"at": "entropy", "width": 2}}},
        {
            "credit": {
                "use": "levels",
                "levels": [{"source": "env", "group": ["prompt", "state"], "baseline": "mean"}],
            },
            "objective": {"use": "gspo", "aggregate": "constant", "kl": {"coef": 0.1}},
        },
        {
            "task": {"use": "chain", "terms": 2},
            "sampler": {"prompts": 2, "group": 4, "max_new_tokens": 8, "branch": {"at": [1], "width": 1}},
        },
    ],
)
def test_recipes_with_turns_and_trees_train(tmp_path, changes):
    recipe = world_recipe(steps=2, **changes).validate()
    run = run_recipe(tmp_path / "run", recipe)
    metrics = run.metrics()
    assert np.isfinite(metrics["loss"][1:]).all() and np.isfinite(metrics["eval/pass@1"][[0, 2]]).all()
    saved = read(run.rollouts_path(2))
    branched = "branch" in recipe.to_dict()["sampler"] and recipe.sampler.branch is not None
    assert (saved.node is not None) == branched == ("rollout/sampled" in metrics)
    if branched:
        assert metrics["rollout/sampled"][1] <= metrics["rollout/tokens"][1]
    if recipe.task["use"] != "chain":
        assert metrics["rollout/acted"][1] < metrics["rollout/tokens"][1]
        assert len(saved.state) == saved.count("step") == saved.count("turn")
        assert (saved.advantages.values[~saved.acted.values] == 0).all()
        assert {"env", "grounded", "call_ok", "outcome"} <= set(saved.signals)
        assert all(
            len(m["actions"]) == n for m, n in zip(saved.meta, np.diff(saved.offsets("turn")), strict=True)
        )


def test_a_run_that_was_cut_off_ends_in_the_same_bytes(tmp_path):
    recipe = world_recipe(
        sampler={"prompts": 2, "group": 4, "max_new_tokens": 3, "branch": {}}, checkpoint={"every": 2}
    )
    whole = run_recipe(tmp_path / "whole", recipe)

    def cut(step, metrics):
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_recipe(tmp_path / "cut", recipe, progress=cut)
    resumed = run_recipe(tmp_path / "cut", recipe, resume=True)
    for name in ("metrics.jsonl", "checkpoints/step_000004/model.safetensors"):
        assert (resumed.path / name).read_bytes() == (whole.path / name).read_bytes(), name


def test_settings_that_do_not_fit_the_task_are_refused():
    one_turn = {"use": "chain", "terms": 2}
    with pytest.raises(RecipeError, match=r"sampler\.turns.*chain"):
        Training.build(world_recipe(task=one_turn, sampler={"turns": 3}))
    with pytest.raises(RecipeError, match=r"sampler\.branch.*no steps"):
        Training.build(
            world_recipe(
                task="random_calculation", rewards={"outcome": "task.outcome"}, sampler={"branch": {}}
            )
        )
    with pytest.raises(RecipeError, match=r"sampler\.branch.*group of 8"):
        world_recipe(sampler={"group": 8, "branch": {"width": 2}})
    with pytest.raises(RecipeError, match=r"sampler\.branch\.wdth"):
        world_recipe(sampler={"branch": {"wdth": 2}})
    with pytest.raises(RecipeError, match=r"sampler\.turns"):
        world_recipe(sampler={"turns": 0})
    assert world_recipe(sampler={"branch": {"at": [1, 2]}, "group": 3}).to_dict()["sampler"]["branch"][
        "at"
    ] == [1, 2]
    recipe = world_recipe(sampler={"branch": {"at": 1}, "group": 4})
    assert Recipe.from_dict(recipe.to_dict()) == recipe


def test_worked_solutions_teach_the_moves_not_the_maps():
    engine = letters_engine(seed=1)
    losses = warm_start(engine, WORLD, steps=30, batch=16, lr=1e-2, seed=1)
    assert losses[-1] < 0.6 * losses[0] and losses[0] == pytest.approx(np.log(16), abs=0.7)
    rollouts = sample(engine, WORLD, WORLD.problems("valid", 10), 2, Sampling(max_new_tokens=3))
    assert rollouts.signals["call_ok"].values.mean() > 0.8  # a random policy: about -0.7
    seen = engine.logprobs(rollouts).values
    assert seen[rollouts.acted.values].mean() > -1.0 > -2.0 > seen[~rollouts.acted.values].mean()
    found = evaluate(engine, WORLD, problems=20, max_new_tokens=3)
    assert found.unscored == 0 and found.pass_1.mean >= 0


@pytest.mark.parametrize("slug", ["gigpo", "salt"])
def test_published_methods_read_what_worlds_record(tmp_path, slug):
    recipe = world_recipe(steps=1, credit=slug, eval={"every": 0}, save_rollouts_every=1).validate()
    run = run_recipe(tmp_path / "run", recipe)
    assert np.isfinite(run.metrics()["loss"][1])
    with pytest.raises(RecipeError, match="credit"):
        world_recipe(credit="toolrl").validate()
