from __future__ import annotations

import math
from pathlib import Path

import pytest

from guerdon.errors import StoreError
from guerdon.store import Run, find_runs, summarise
from guerdon.store.compare import summarise_all


def make_run(path: Path) -> Run:
    run = Run.create(path, {"steps": 30})
    for step in range(21):
        metrics = {"reward/outcome": float(step), "policy/entropy": 0.5, "rollout/length": 12.0}
        metrics |= {"rollout/tokens": 100, "reward/outcome_missing": 1.0}
        if step in (0, 20):
            metrics |= {"eval/pass@1": 0.2 + step / 40, "eval/pass@1_low": 0.1, "eval/pass@1_high": 0.9}
        run.log(step, metrics)
        run.log(step, {"sample": 0.25, "update": 0.5}, stream="timing")
    return run


def test_a_summary_by_hand(tmp_path: Path):
    run = make_run(tmp_path / "run")
    run.finish()
    s = summarise(run.path)
    assert (s.name, s.state, s.cause, s.step, s.steps) == ("run", "finished", None, 20, 30)
    assert (s.accuracy, s.accuracy_low, s.accuracy_high) == (0.7, 0.1, 0.9)
    assert s.rewards == {"outcome": 15.5}  # mean of 11 ... 20
    assert (s.entropy, s.length, s.tokens, s.seconds) == (0.5, 12.0, 2100, 21 * 0.75)


def test_tokens_follow_from_lengths_where_they_are_not_logged(tmp_path: Path):
    run = Run.create(tmp_path / "run", {"sampler": {"group": 4, "prompts": 2}})
    run.log(1, {"rollout/length": 10.0})
    run.log(2, {"rollout/length": 12.5})
    assert summarise(run.path).tokens == 180


def test_an_empty_run_has_no_numbers(tmp_path: Path):
    Run.create(tmp_path / "run", {}).close()
    s = summarise(tmp_path / "run")
    assert s.state == "killed" and s.step == 0 and s.steps is None and s.rewards == {}
    assert math.isnan(s.accuracy) and math.isnan(s.seconds) and s.tokens is None


@pytest.mark.parametrize(
    ("file", "content", "cause"),
    [
        ("config.yaml", "a: [", "config.yaml, line 1"),
        ("config.yaml", "7", "expected a recipe"),
        ("config.yaml", None, "config.yaml is missing"),
        ("status.json", "[]", "status.json is broken"),
        ("status.json", None, "status.json is missing"),
        ("metrics.jsonl", "nonsense\n{}\n", "metrics.jsonl, line 1"),
    ],
)
def test_broken_runs_are_shown_with_the_cause(tmp_path: Path, file: str, content: str | None, cause: str):
    make_run(tmp_path / "bad").finish()
    make_run(tmp_path / "good").finish()
    path = tmp_path / "bad" / file
    path.unlink() if content is None else path.write_text(content)
    bad, good = summarise_all(tmp_path)
    assert bad.state == "broken" and cause in str(bad.cause) and good.state == "finished"


def test_runs_are_found_below_and_not_inside_each_other(tmp_path: Path):
    for name in ("b/two", "b/one", "a"):
        Run.create(tmp_path / name, {}).close()
    Run.create(tmp_path / "a" / "checkpoints" / "inner", {}).close()
    Run.create(tmp_path / ".hidden", {}).close()
    (tmp_path / "notes").mkdir()
    assert [str(p.relative_to(tmp_path)) for p in find_runs(tmp_path)] == ["a", "b/one", "b/two"]
    assert [s.name for s in summarise_all(tmp_path)] == ["a", "b/one", "b/two"]
    assert [s.name for s in summarise_all(tmp_path / "a")] == ["a"]
    with pytest.raises(StoreError, match="no folder"):
        find_runs(tmp_path / "absent")
