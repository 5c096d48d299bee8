"""Models that learn along: a run with them trains, and a resumed run is the same run to the byte."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small import small_recipe

from guerdon import read, registry
from guerdon.context import Context
from guerdon.data import Ragged, Rollouts, Signal
from guerdon.errors import RecipeError
from guerdon.learn import cotrained
from guerdon.learn.loop import Training, train
from guerdon.store import Run


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


IMPLICIT = {"use": "models.implicit", "lr": 1e-3}
CASES = {
    "implicit": {
        "rewards": {"outcome": "coin", "implicit": IMPLICIT},
        "credit": {
            "use": "levels",
            "levels": [{"source": "outcome", "span": "rollout", "baseline": "loo"}, {"source": "implicit"}],
        },
    },
    "implicit_before": {
        "rewards": {
            "outcome": "coin",
            "implicit": {**IMPLICIT, "update": "before", "loss": "preference", "reference": "policy"},
        },
        "credit": "grpo",
    },
    "classifier": {
        "rewards": {
            "outcome": "coin",
            "steps": "task.steps",
            "prm": {"use": "models.classifier", "lr": 1e-3},
        },
        "credit": {"use": "outcome_and_steps", "steps": "prm"},
    },
    "progress": {
        "rewards": {"outcome": "coin", "contribution": {"use": "models.progress", "level": "step"}},
        "credit": {"use": "outcome_and_steps", "steps": "contribution"},
    },
    "critic": {
        "models": {"critic": {"use": "critic", "lr": 1e-3, "epochs": 2, "batch": 8}},
        "credit": {"use": "gae", "lam": 0.95},
    },
    "utterance_critic": {
        "models": {
            "critic": {
                "use": "utterance_critic",
                "level": "step",
                "max_new_tokens": 4,
                "stop": [";"],
                "lr": 1e-3,
            }
        },
        "credit": {"use": "levels", "levels": [{"source": "q1"}]},
    },
    "prefix_values": {
        "models": {"prover": {"use": "prefix_values", "k": 2, "max_new_tokens": 6}},
        "credit": {"use": "levels", "levels": [{"source": "q_policy"}]},
    },
    "forced_answers": {
        "rewards": {
            "outcome": "coin",
            "forced_acc": {"use": "models.forced_answers", "cue": "#", "k": 2, "max_new_tokens": 3},
            "answer_logprob": {"use": "models.answer_logprob", "cue": "#", "level": "step"},
        },
        "credit": "grpo",
    },
}


def coin():
    """Half of all texts are right: something to learn for a policy that cannot do the task."""

    def outcome(rollouts, ctx=None):
        even = [float(sum(rollouts.text(i).encode()) % 2 == 0) for i in range(len(rollouts))]
        return Signal(even, "rollout", "outcome")

    return outcome


@pytest.fixture(autouse=True)
def quick_runs(monkeypatch):
    monkeypatch.setitem(registry._ADDED, "reward", {"coin": coin})
    monkeypatch.setattr(Run, "plot", lambda self: [])


def run_recipe(folder, recipe):
    with Run.create(folder, recipe.to_dict()) as run:
        return run, train(recipe, run)


def changed(case: str, **more):
    rewards = CASES[case].get("rewards", {"outcome": "coin"})
    return small_recipe(steps=4, eval={"every": 0}, **{**CASES[case], "rewards": rewards}, **more).validate()


@pytest.mark.parametrize("case", CASES)
def test_a_stopped_run_goes_on_to_the_same_bytes(tmp_path, case, monkeypatch):
    recipe = changed(case)
    whole, training = run_recipe(tmp_path / "whole", recipe)
    metrics = whole.metrics()
    for name in (*training.models, *training.rewards):
        key = f"models/{name}/loss"
        if key in metrics:
            assert np.isfinite(metrics[key][1:]).any(), key
    learns = [n for n in ("implicit", "prm", "contribution", "critic") if n in str(CASES[case])]
    assert not learns or any(f"models/{n}/" in key for n in learns for key in metrics)

    def give_up(step, _):
        if step == 2:
            raise KeyboardInterrupt

    run = Run.create(tmp_path / "parts", recipe.to_dict())
    with run, pytest.raises(KeyboardInterrupt):
        train(recipe, run, progress=give_up)
    run = Run.resume(tmp_path / "parts", recipe.to_dict())
    with run:
        train(recipe, run, resume=True)
    for path in sorted((tmp_path / "whole").rglob("*")):
        if path.name == "metrics.jsonl" or ("step_000004" in str(path) and path.suffix == ".safetensors"):
            other = tmp_path / "parts" / path.relative_to(tmp_path / "whole")
            assert other.read_bytes() == path.read_bytes(), path


def test_the_critic_fills_values_and_learns_the_return(tmp_path):
    recipe = changed("critic", save_rollouts_every=1)
    run, _ = run_recipe(tmp_path / "run", recipe)
    saved = read(run.rollouts_path(2))
    assert saved.values is not None and np.isfinite(saved.values.values).all()
    reward = saved.signals["reward"]
    assert reward.level == "token"
    np.testing.assert_allclose(saved.reduce(reward, "rollout").values, saved.signals["outcome"].values)
    assert not read(run.rollouts_path(1)).values.values.any()  # untaught, it is 0 everywhere
    assert saved.values.values.any()


def test_an_implicit_reward_starts_at_zero_and_leaves_the_policy_alone(tmp_path):
    recipe = changed("implicit", save_rollouts_every=1)
    run, training = run_recipe(tmp_path / "run", recipe)
    first, second = (read(run.rollouts_path(step)).signals["implicit"].values for step in (1, 2))
    assert np.abs(first).max() < 1e-5 < np.abs(second).max()
    model = training.rewards["implicit"]
    assert model.engine is not training.engine and model.reference.frozen


class Watcher:
    """A reward that notes the order of its calls."""

    online, name = True, "watcher"

    def __init__(self, update: str) -> None:
        self.update, self.calls = update, []

    def __call__(self, rollouts, ctx=None):
        self.calls.append("score")
        return Signal(np.zeros(len(rollouts)), "rollout", "w")

    def observe(self, rollouts, ctx=None):
        self.calls.append(f"observe {sorted(rollouts.signals)}")
        return {"seen": 1.0}


@pytest.mark.parametrize("update", ["before", "after"])
def test_who_learns_sees_the_plain_rewards_whatever_the_order(update):
    rollouts = Rollouts(tokens=Ragged.from_lists([[1], [2]], dtype=np.int32))
    watcher = Watcher(update)
    outcome = lambda rollouts, ctx=None: Signal(np.ones(2), "rollout", "o")  # noqa: E731
    scored, metrics = cotrained.score(rollouts, {"w": watcher, "outcome": outcome}, Context())
    assert sorted(scored.signals) == ["outcome", "w"] and metrics == {"models/w/seen": 1.0}
    wanted = ["observe ['outcome']", "score"]
    assert watcher.calls == (wanted if update == "before" else wanted[::-1])


def test_names_and_fields_of_models_are_checked():
    with pytest.raises(RecipeError, match=r"models\.v\.use.*critik.*critic"):
        small_recipe(models={"v": "critik"}).validate()
    with pytest.raises(RecipeError, match=r"models\.v\.gama.*gamma"):
        small_recipe(models={"v": {"use": "critic", "gama": 1.0}}).validate()
    with pytest.raises(RecipeError, match=r"rewards\.p\.beta"):
        small_recipe(rewards={"p": {"use": "models.implicit", "beta": "high"}}).validate()
    with pytest.raises(RecipeError, match="beta"):
        Training.build(small_recipe(rewards={"p": {"use": "models.implicit", "beta": 0.0}}))


def test_a_saved_model_is_a_reward_and_is_not_trained(tmp_path):
    first = Training.build(changed("classifier"))
    path = first.rewards["prm"].save(tmp_path / "prm")
    recipe = small_recipe(
        steps=2,
        rewards={"outcome": "coin", "prm": {"use": "models.load", "path": str(path)}},
        credit={"use": "outcome_and_steps", "steps": "prm"},
    ).validate()
    run, training = run_recipe(tmp_path / "run", recipe)
    model = training.rewards["prm"]
    assert not model.online and not (run.latest_checkpoint()[1] / "models").exists()
    weights = {name: p.detach().clone() for name, p in model.engine.parameters().items()}
    start = first.rewards["prm"].engine.parameters()
    assert all(torch.equal(start[name], p) for name, p in weights.items())


def test_a_saved_model_may_go_on_learning(tmp_path):
    critic = Training.build(changed("critic")).models["critic"]
    path = critic.save(tmp_path / "critic")
    recipe = small_recipe(
        steps=2,
        eval={"every": 0},
        rewards={"outcome": "coin"},
        models={"critic": {"use": "load", "path": str(path), "online": True}},
        credit="gae",
    ).validate()
    run, training = run_recipe(tmp_path / "run", recipe)
    assert np.isfinite(run.metrics()["models/critic/loss"][1:]).all()
    assert training.models["critic"].head_lr == critic.head_lr
    assert (run.latest_checkpoint()[1] / "models" / "models" / "critic" / "head.safetensors").is_file()
    implicit = Training.build(small_recipe(rewards={"i": {"use": "models.implicit", "init": str(path)}}))
    start, got = critic.engine.parameters(), implicit.rewards["i"].engine.parameters()
    assert all(torch.equal(start[name], got[name]) for name in start)
