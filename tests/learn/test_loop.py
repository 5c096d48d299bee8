"""The on-policy loop: what it writes, how it stops, and that a killed run ends like an unkilled one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from small import small_recipe

from guerdon import credit, read, registry
from guerdon.data import Ragged, Rollouts, Signal
from guerdon.engines.lab import LabEngine
from guerdon.errors import RecipeError, TrainingError
from guerdon.learn import filters, signals
from guerdon.learn.loop import Training, train
from guerdon.store import Run


def run_recipe(folder, recipe):
    with Run.create(folder, recipe.to_dict()) as run:
        return run, train(recipe, run)


def test_a_run_writes_what_it_promises(tmp_path):
    run, _ = run_recipe(tmp_path / "run", small_recipe())
    metrics = run.metrics()
    assert metrics["step"].tolist() == list(range(7))
    for name in (
        "reward/outcome",
        "reward/steps",
        "policy/entropy",
        "policy/grad_norm",
        "rollout/length",
        "lr",
    ):
        assert np.isfinite(metrics[name][1:]).all(), name
    assert np.flatnonzero(~np.isnan(metrics["eval/pass@1"])).tolist() == [0, 3, 6]
    assert run.status["state"] == "finished"
    saved = read(run.rollouts_path(6))
    assert len(saved) == 16 and saved.advantages is not None and set(saved.signals) >= {"outcome", "steps"}
    assert (run.path / "plots" / "overview.png").stat().st_size > 1000
    assert set(run.metrics("timing")) >= {"sample", "score", "credit", "update"}


def test_the_same_recipe_gives_the_same_bytes(tmp_path):
    recipe = small_recipe()
    texts = [(run_recipe(tmp_path / n, recipe)[0].path / "metrics.jsonl").read_bytes() for n in "ab"]
    assert texts[0] == texts[1]
    other = run_recipe(tmp_path / "c", small_recipe(seed=4))[0]
    assert (other.path / "metrics.jsonl").read_bytes() != texts[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"objective": {"use": "ppo", "kl": {"coef": 0.1}}},
        {"objective": {"use": "reinforce", "kl": {"coef": 0.1, "where": "reward", "estimator": "k1"}}},
        {"objective": "gspo", "epochs": 2, "minibatches": 2},
        {"objective": "cispo", "micro_rollouts": 3},
        {"objective": {"use": "minirl", "entropy": 0.01}, "credit": "dr_grpo"},
        {"objective": {"use": "ppo", "aggregate": "constant"}, "truncated": "mask"},
        {"truncated": "zero", "credit": {"use": "rloo"}, "optim": {"lr": 1e-3, "schedule": "cosine"}},
        {
            "credit": {
                "use": "levels",
                "levels": [{"source": "steps", "group": "prompt", "baseline": "mean_std"}],
            }
        },
        {"filters": [{"use": "uniform_groups", "source": "steps"}, "unscored"]},
    ],
)
def test_every_kind_of_recipe_trains(tmp_path, changes):
    run, _ = run_recipe(tmp_path / "run", small_recipe(steps=2, **changes))
    metrics = run.metrics()
    assert np.isfinite(metrics["rollout/length"][1:]).all()
    trained = ~np.isnan(metrics.get("loss", np.full(3, np.nan)))
    assert trained[1:].all() or "filters" in changes
    if "kl" in str(changes):
        assert metrics["policy/kl"][1] == pytest.approx(0, abs=1e-4)  # the reference is where we start


def test_micro_batches_do_not_change_the_run(tmp_path):
    whole, _ = run_recipe(tmp_path / "a", small_recipe(steps=3))
    parts, _ = run_recipe(tmp_path / "b", small_recipe(steps=3, micro_rollouts=5))
    for name in ("loss", "policy/grad_norm", "policy/entropy", "policy/clip_fraction"):
        np.testing.assert_allclose(whole.metrics()[name], parts.metrics()[name], rtol=2e-3, atol=1e-5)


def test_resume_needs_the_same_recipe(tmp_path):
    recipe = small_recipe(steps=2)
    run_recipe(tmp_path / "run", recipe)
    with pytest.raises(Exception, match=r"optim|lr"):
        Run.resume(tmp_path / "run", small_recipe(steps=2, optim={"lr": 2e-3}).to_dict())


CHILD = """
import sys, time
sys.path.insert(0, {tests!r})
from small import small_recipe
from guerdon.learn.loop import train
from guerdon.store import Run
recipe = small_recipe(steps=8)
run = Run.start(sys.argv[1], recipe.to_dict(), resume=True)
def told(step, metrics):
    print(step, flush=True)
    time.sleep(0.02)
with run:
    train(recipe, run, resume=True, progress=told)
"""


def child(folder: Path) -> subprocess.Popen:
    code = CHILD.format(tests=str(Path(__file__).parent))
    return subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_kill_minus_nine_and_resume_end_in_the_same_bytes(tmp_path):
    whole = child(tmp_path / "whole")
    assert whole.wait() == 0
    rng = np.random.default_rng(0)
    for kill in (3, 5):  # after these steps, at some moment of the next one
        process = child(tmp_path / "killed")
        for line in process.stdout:
            if int(line) >= kill:
                time.sleep(rng.uniform(0, 0.05))
                os.kill(process.pid, signal.SIGKILL)
                break
        process.wait()
    assert Run.open(tmp_path / "killed").status["state"] == "killed"
    last = child(tmp_path / "killed")
    assert last.wait() == 0
    names = ("metrics.jsonl", "checkpoints/step_000008/model.safetensors")
    for name in names:
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


@pytest.mark.slow
def test_ctrl_c_finishes_the_step_and_saves(tmp_path):
    process = child(tmp_path / "run")
    for line in process.stdout:
        if int(line) >= 3:
            process.send_signal(signal.SIGINT)
            break
    rest = process.stdout.read().split()
    assert process.wait() != 0
    run = Run.open(tmp_path / "run")
    stopped = run.last_step()
    assert run.status["state"] == "interrupted"
    assert 3 <= stopped <= 6 and run.latest_checkpoint()[0] == stopped and len(rest) <= 3
    assert child(tmp_path / "run").wait() == 0
    assert run.last_step() == 8


def test_a_loss_that_is_not_finite_stops_before_it_harms(tmp_path, monkeypatch):
    def explode(rollouts, ctx=None):
        values = np.zeros(len(rollouts))
        if ctx.step == 1:
            values[2] = 1e300  # finite here, not in the loss
        return Signal(values, "rollout", "outcome")

    monkeypatch.setitem(registry._ADDED, "reward", {"explode": lambda: explode})
    recipe = small_recipe(steps=4, rewards={"outcome": "explode"}, credit={"use": "remax_free"})
    monkeypatch.setitem(
        registry._ADDED, "credit", {"remax_free": lambda: credit.Credit([credit.Level("outcome")])}
    )
    run = Run.create(tmp_path / "run", recipe.to_dict())
    with run, pytest.raises(TrainingError, match=r"step 2: .*not finite.* 2\b"):
        train(recipe, run)
    assert run.status["state"] == "failed" and "not finite" in run.status["reason"]
    assert run.pinned_checkpoint("last_good")[0] == 1
    weights = LabEngine(init=run.pinned_checkpoint("last_good")[1], device="cpu").state_dict()
    assert all(np.isfinite(np.asarray(w)).all() for w in weights.values())
    assert read(run.path / "failed_batch.parquet").signals["outcome"].values[2] == 1e300


def test_unknown_names_are_refused_with_their_place():
    with pytest.raises(RecipeError, match=r"credit.*grpoo.*grpo"):
        small_recipe(credit="grpoo").validate()
    with pytest.raises(RecipeError, match=r"task.steps|no steps"):
        Training.build(small_recipe(task={"use": "random_calculation"}))


def rollouts_with(outcome, truncated=None):
    n = len(outcome)
    return Rollouts(
        tokens=Ragged.from_lists([[1, 2]] * n, np.int32),
        logprobs=Ragged.from_lists([[-1.0, -1.0]] * n),
        ref_logprobs=Ragged.from_lists([[-2.0, -1.0]] * n),
        group=np.arange(n) // 2,
        truncated=truncated,
        signals={"outcome": Signal(outcome, "rollout", "outcome")},
    )


def test_distance_to_the_reference_is_taken_off_the_reward():
    paid = signals.pay_for_distance(rollouts_with([1.0, np.nan]), 0.5)
    np.testing.assert_allclose(paid.signals["outcome"].values, [0.5, np.nan])


def test_truncated_rollouts_can_be_worth_nothing():
    cut = rollouts_with([1.0, 1.0], truncated=[True, False])
    assert signals.apply_truncation(cut, "zero").signals["outcome"].values.tolist() == [0.0, 1.0]
    assert signals.apply_truncation(cut, "keep").signals["outcome"].values.tolist() == [1.0, 1.0]


def test_filters_keep_groups_that_teach():
    rollouts = rollouts_with([1.0, 1.0, 0.0, 1.0, np.nan, 0.5])
    assert filters.select(rollouts, [filters.uniform_groups()]).group.tolist() == [1, 1, 2, 2]
    assert filters.select(rollouts, [filters.unscored()]).group.tolist() == [0, 0, 1, 1, 2]
    assert filters.select(rollouts, [filters.band(0.3, 0.6)]).group.tolist() == [1, 1, 2, 2]
