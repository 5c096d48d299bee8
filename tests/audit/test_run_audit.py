"""A run whose self-reward leaves the truth: warned of while it trains, and found afterwards."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from guerdon.audit.collapse import audit_run
from guerdon.cli import main
from guerdon.errors import DataError
from guerdon.learn import loop
from guerdon.learn.loop import train
from guerdon.learn.recipe import Recipe
from guerdon.store import Run

STEPS = 12
RECIPE = {
    "engine": {"use": "lab", "dim": 16, "layers": 1, "heads": 2, "context": 32},
    "task": {"use": "chain", "terms": 2, "max_operand": 9, "high": 20},
    "sampler": {"prompts": 1, "group": 2, "max_new_tokens": 2},
    "rewards": {"outcome": {"use": "mm-upt", "extract": "text", "equal": "text"}},
    "steps": STEPS,
    "eval": {"every": 0},
    "checkpoint": {"every": 6},
    "save_rollouts_every": 0,
    "device": "cpu",
}


@pytest.fixture
def collapsing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step the reward is larger and the truth smaller."""

    def watched(rollouts: Any, rewards: Any, task: Any, ctx: Any) -> dict[str, float]:
        return {"collapse/reward": 0.05 * ctx.step, "collapse/truth": 1 - 0.05 * ctx.step}

    monkeypatch.setattr(loop, "watch", watched)
    monkeypatch.setattr(Run, "plot", lambda self: [])


def command(*arguments: Any) -> int:
    with pytest.raises(SystemExit) as ended:
        main([*map(str, arguments)])
    return int(ended.value.code or 0)


def test_training_warns_stores_it_and_the_audit_says_so(tmp_path: Path, collapsing: None, capfd: Any):
    recipe = tmp_path / "recipe.yaml"
    Recipe.from_dict(RECIPE).to_yaml(recipe)
    assert command("train", recipe, "--out", tmp_path / "run") == 0
    errors = capfd.readouterr().err
    assert errors.count("warning: step 10: reward rises while truth falls") == 1
    run = Run.open(tmp_path / "run")
    assert run.status["warning"].startswith(
        f"step {STEPS}: reward rises while truth falls: self-reward 0.100"
    )
    flags = run.metrics()["collapse/warning"]
    assert flags[1:10].tolist() == [0.0] * 9 and flags[10:].tolist() == [1.0] * 3

    assert command("audit", tmp_path / "run") == 1
    printed = capfd.readouterr()
    assert "truth" in printed.out and "since step 10; held against the true checker" in printed.err
    assert command("audit", tmp_path / "run", "--json") == 1
    document = json.loads(capfd.readouterr().out)
    assert document["collapsed"] and document["since"] == 10
    assert {t["name"]: round(t["last"], 3) for t in document["trends"]} == {"reward": 0.45, "truth": 0.55}


def test_the_watch_is_saved_with_the_run(tmp_path: Path, collapsing: None):
    recipe = Recipe.from_dict(RECIPE)
    with Run.create(tmp_path / "whole", RECIPE) as whole:
        train(recipe, whole)
    cut = {**RECIPE, "steps": 6}
    with Run.create(tmp_path / "cut", cut) as run:
        train(Recipe.from_dict(cut), run)
    with Run.resume(tmp_path / "cut", RECIPE) as run:
        train(recipe, run, resume=True)
    same = [(tmp_path / name / "metrics.jsonl").read_bytes() for name in ("whole", "cut")]
    assert same[0] == same[1]


def logged(folder: Path, *lines: dict[str, float]) -> Path:
    with Run.create(folder, {"steps": len(lines)}) as run:
        for step, line in enumerate(lines):
            run.log(step, line)
    return folder


def test_a_healthy_run_and_one_without_a_truth(tmp_path: Path, capfd: Any):
    both = [{"collapse/reward": i / 10, "collapse/truth": i / 10, "collapse/entropy": 1.0} for i in range(12)]
    found = audit_run(logged(tmp_path / "good", *both))
    assert found.since is None and found.against == "the true checker"
    assert [t.name for t in found.trends] == ["reward", "truth", "entropy"]
    alone = [{"collapse/reward": i / 10} for i in range(12)]
    assert command("audit", logged(tmp_path / "alone", *alone)) == 0
    assert "no true checker was logged" in capfd.readouterr().err


def test_any_run_is_held_against_its_evaluations(tmp_path: Path):
    lines = [
        {"reward/outcome": i / 10, "eval/pass@1": 1 - i / 10 if i % 3 == 0 else math.nan} for i in range(12)
    ]
    found = audit_run(logged(tmp_path / "run", *lines))
    assert found.since == 9 and found.against.startswith("eval/pass@1")
    with pytest.raises(DataError, match="nothing to audit"):
        audit_run(logged(tmp_path / "empty", {"loss": 1.0}))
