"""`guerdon quickstart`: a small reasoner learns from rewards, twice, while you watch.

A byte-level decoder of about a million parameters is taught chain arithmetic (`7+5-3+8=`) to a mediocre
level, then trained from that same checkpoint with two recipes: rewarded for right answers only, and for
right answers and every valid step. Same problems, same sampling noise; only the credit differs.
"""

from __future__ import annotations

import time
from json import dumps
from pathlib import Path
from typing import Any

from guerdon.cli import show
from guerdon.cli.train import print_summary, summary, train_with_progress
from guerdon.learn.recipe import Recipe
from guerdon.store import Run

TASK = {"use": "chain", "terms": 4, "max_operand": 9, "high": 20}
MODEL: dict[str, Any] = {"layers": 4, "dim": 128, "heads": 4, "context": 96}
MAX_NEW_TOKENS = 32
WARM_STEPS, WARM_CHECK, WARM_ACCURACY = 600, 20, 0.3
RL_STEPS = 150
TEST_PROBLEMS = 500

RECIPES: dict[str, dict[str, Any]] = {
    "outcome": {
        "rewards": {"outcome": "task.outcome"},
        "credit": {"use": "grpo"},
    },
    "outcome+steps": {
        "rewards": {"outcome": "task.outcome", "steps": "task.steps"},
        "credit": {"use": "outcome_and_steps"},
    },
}


def quickstart_command(out: Path, seed: int, json: bool, device: str | None) -> None:
    """Warm-start, train with both recipes, evaluate on unseen problems, plot, say which one won."""
    began = time.perf_counter()
    from guerdon.engines.lab import LabEngine
    from guerdon.learn.evaluation import evaluate
    from guerdon.learn.statistics import paired_difference
    from guerdon.registry import build
    from guerdon.store import compare_runs
    from guerdon.store.atomic import write_bytes
    from guerdon.store.folder import must_be_free

    must_be_free(out)
    task = build("task", TASK, "task")

    def test(engine: Any) -> Any:
        return evaluate(engine, task, "test", TEST_PROBLEMS, max_new_tokens=MAX_NEW_TOKENS)

    engine = LabEngine(**MODEL, device=device or "auto", seed=seed)
    show.note(f"{_size(engine):,} parameters on {engine.device}; task: {task.problems('train', 1)[0].prompt}")
    _warm(engine, task, out / "warm", seed, quiet=json)
    before = test(engine)

    runs, results, after = {}, [], {}
    for name, parts in RECIPES.items():
        recipe = _recipe(parts, out / "warm", seed, device or "auto")
        run = Run.create(out / name, recipe.to_dict())
        started = time.perf_counter()
        with run:
            training = train_with_progress(recipe, run, False, description=f"train: {name}", quiet=json)
        after[name] = test(training.engine)
        runs[name] = run
        results.append(_result(name, run, before, after[name], time.perf_counter() - started))
    plot = compare_runs(runs, "eval/pass@1", out / "comparison.png", title="Chain arithmetic, validation")
    gap = paired_difference(after["outcome+steps"].per_problem, after["outcome"].per_problem)
    document = {
        "seed": seed,
        "task": TASK,
        "runs": results,
        "difference": {"outcome+steps minus outcome": {"mean": gap.mean, "low": gap.low, "high": gap.high}},
        "verdict": verdict(gap),
        "plot": plot,
        "seconds": time.perf_counter() - began,
    }
    write_bytes(out / "summary.json", dumps(show.plain(document), indent=1).encode(), "the summary")
    if json:
        show.print_json(document)
    else:
        _print(document, results, out)


def _warm(engine: Any, task: Any, folder: Path, seed: int, quiet: bool) -> int:
    """Teach worked solutions until a third of the sampled answers are right; returns the updates it took."""
    from guerdon.learn.evaluation import evaluate
    from guerdon.learn.warm import warm_start

    def mediocre(step: int) -> bool:
        if step % WARM_CHECK:
            return False
        found = evaluate(engine, task, "train", 100, k=2, max_new_tokens=MAX_NEW_TOKENS, seed=seed)
        return found.pass_1.mean >= WARM_ACCURACY

    with show.progress(WARM_STEPS, "warm start", quiet=quiet) as bar:
        losses = warm_start(
            engine,
            task,
            WARM_STEPS,
            seed=seed,
            until=mediocre,
            progress=lambda _, loss: bar.advance(loss=loss),
        )
    engine.save(folder)
    return len(losses)


def _recipe(parts: dict[str, Any], warm: Path, seed: int, device: str) -> Recipe:
    return Recipe.from_dict(
        {
            "engine": {"use": "lab", "init": str(warm)},
            "task": TASK,
            "sampler": {"prompts": 16, "group": 8, "max_new_tokens": MAX_NEW_TOKENS},
            "objective": {"use": "ppo", "clip": [0.2, 0.28]},
            "optim": {"lr": 1e-4, "warmup_steps": 5},
            "steps": RL_STEPS,
            "eval": {"every": 25, "problems": 200},
            "checkpoint": {"every": 25, "keep": 1},
            "save_rollouts_every": 50,
            "seed": seed,
            "device": device,
            **parts,
        }
    ).validate()


def _result(name: str, run: Run, before: Any, after: Any, seconds: float) -> dict[str, Any]:
    """One row of the final table: test split before and after, tokens, seconds."""

    def as_dict(estimate: Any) -> dict[str, float]:
        return {"mean": estimate.mean, "low": estimate.low, "high": estimate.high}

    return {
        **summary(run),
        "name": name,
        "seconds": seconds,
        "eval/pass@1/before": as_dict(before.pass_1),
        "eval/pass@1/after": as_dict(after.pass_1),
        "eval/steps/before": as_dict(before.steps),
        "eval/steps/after": as_dict(after.steps),
    }


def verdict(gap: Any) -> str:
    """Which run won, in words; a paired 95 % interval that contains 0 is no win."""
    interval = f"[{100 * gap.low:+.1f}, {100 * gap.high:+.1f}]"
    if gap.low > 0:
        return f"rewarding steps too won by {100 * gap.mean:.1f} points {interval}"
    if gap.high < 0:
        return f"rewarding the outcome only won by {-100 * gap.mean:.1f} points {interval}"
    return f"no clear winner: rewarding steps too changed accuracy by {100 * gap.mean:+.1f} points {interval}"


def _print(document: dict[str, Any], results: list[dict[str, Any]], out: Path) -> None:
    print_summary(results, title=f"Unseen test problems ({TEST_PROBLEMS}, greedy), seed {document['seed']}")
    print(document["verdict"])
    print(f"plot: {document['plot']}   runs: {out}   took {show.duration(document['seconds'])}")


def _size(engine: Any) -> int:
    return sum(parameter.numel() for parameter in engine.model.parameters())
