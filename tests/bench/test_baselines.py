"""Baselines without weights and the small step classifier, by hand and through the command."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from guerdon import Rollouts
from guerdon.bench.baselines import answer_vote, length, step_count
from guerdon.bench.candidates import score_steps, with_steps
from guerdon.bench.step_classifier import StepBag, load
from guerdon.bench.step_features import features
from guerdon.cli import app
from guerdon.errors import DataError, RecipeError, StoreError
from guerdon.tasks import Chain
from guerdon.tasks.planted_errors import Labelled, chain_trace, solutions


def write(path: Path, rows) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def test_length_and_step_count_by_hand():
    rollouts = with_steps(["p", "p"], [["a b", "c"], ["d e f"]])
    assert length()(rollouts).values.tolist() == [3, 3]
    assert length(level="step", prefer="less")(rollouts).values.tolist() == [-2, -1, -3]
    assert length(level="step", unit="characters")(rollouts).values.tolist() == [5, 1, 5]
    assert step_count()(rollouts).values.tolist() == [2, 1]
    assert step_count(level="step", prefer="less")(rollouts).values.tolist() == [-1, -2, -1]
    assert step_count(level="step")(rollouts).level == "step"


def test_baselines_refuse_what_they_do_not_know():
    for made in (lambda: length(unit="lines"), lambda: length(level="turn"), lambda: step_count(prefer="no")):
        with pytest.raises(RecipeError):
            made()
    with pytest.raises(DataError, match="partition"):
        length(level="step")(Rollouts(prompt=["p"], completion=["a"]))
    with pytest.raises(RecipeError, match="equal"):
        answer_vote("numbers")


def test_answers_vote_inside_their_group():
    texts = [r"so \boxed{1/2}", r"so \boxed{0.5}", r"so \boxed{3}", "", r"\boxed{4}"]
    rollouts = Rollouts(prompt=["p"] * 5, completion=texts, group=np.array([0, 0, 0, 0, 1]))
    signal = answer_vote()(rollouts)
    assert np.array_equal(signal.values, [0.5, 0.5, 0.25, 0, np.nan], equal_nan=True)
    assert signal.causes == {4: "a group of one cannot vote"}
    assert answer_vote("text")(rollouts).values[:3].tolist() == [0.25, 0.25, 0.25]


def test_an_answer_vote_on_rewardmath_through_the_command(tmp_path):
    rows = [
        {"problem": f"p{i}", "eval_solution": [f"\\boxed{{{answer}}}"], "solution_type": kind, "answer": "1"}
        for i, wrong in enumerate(["2", "1"])
        for answer, kind in [("1", "chosen"), ("1", "rejected"), (wrong, "rejected")]
    ]
    data = write(tmp_path / "r.jsonl", rows)
    found = CliRunner().invoke(
        app, ["bench", "rewardmath", "--data", str(data), "--reward", "bench.answer_vote", "--json"]
    )
    assert found.exit_code == 0, found.output
    # the same answer gets the same share of votes: ties only
    assert json.loads(found.stdout)["metrics"]["normal"]["accuracy"] == 0.0
    assert json.loads(found.stdout)["metrics"]["normal"]["accuracy_with_ties"] == 100.0


def test_a_step_baseline_through_the_command_tunes_on_the_named_subset(tmp_path):
    rows = [
        {
            "id": f"{subset}-{i}",
            "problem": "p",
            "steps": ["a", "b " * (9 if label else 1)],
            "label": label - 1,
        }
        for subset in ("gsm8k", "math")
        for i, label in enumerate([0, 2, 0, 2])
    ]
    data = write(tmp_path / "d.jsonl", rows)
    settings = ["level=step", "prefer=less", "tune_on=math", "sweep=true"]
    arguments = ["bench", "processbench", "--data", str(data), "--reward", "bench.length", "--json"]
    found = CliRunner().invoke(app, [*arguments, *(x for s in settings for x in ("--set", s))])
    assert found.exit_code == 0, found.output
    report = json.loads(found.stdout)
    assert report["metrics"]["gsm8k"]["f1"] == 100.0 and "tuned on math" in report["notes"][0]
    assert any("math only" in title for title in report["tables"])


def test_features_of_a_step_by_hand():
    found = features("She has 4 apples and gives away 3.", ["4 - 3 = 1 left", "1 + 37 = 9 left"])
    assert {"true", "- of given and given", "- with left", "- near apples"} <= set(found[0])
    assert {"false", "orphan", "+ of last and new", "false, off by much"} <= set(found[1])
    assert features("p", ["nothing to add"]) == [["no equation"]]
    assert features("p", []) == []


def trained(**settings) -> tuple[StepBag, list[Labelled]]:
    rng = random.Random(0)
    task = Chain(terms=(3, 5), max_operand=20, operators="+-", high=99)
    traces = [chain_trace(task, rng) for _ in range(240)]
    model = StepBag(buckets=1 << 10, width=8, **settings)
    losses = model.fit(solutions(traces[:200], 600), epochs=8, lr=1e-2)
    assert losses[-1] < 0.5 * losses[0]
    return model, solutions(traces[200:], 40, seed=1)


def test_the_classifier_learns_planted_errors_and_survives_the_disk(tmp_path):
    model, held = trained()
    scores = score_steps(model, [s.problem for s in held], [s.steps for s in held])
    bad = [values[s.label] for s, values in zip(held, scores, strict=True) if s.label >= 0]
    good = [v for s, values in zip(held, scores, strict=True) for v in (values if s.label < 0 else [])]
    assert np.mean(good) - np.mean(bad) > 0.25
    model.save(tmp_path / "steps")
    again = load(str(tmp_path / "steps"))
    assert again.version == model.version != StepBag().version
    assert score_steps(again, [held[0].problem], [held[0].steps]) == scores[:1]
    same, _ = trained()
    assert score_steps(same, [held[0].problem], [held[0].steps])[0] == pytest.approx(scores[0], abs=1e-3)


def test_the_classifier_refuses(tmp_path):
    with pytest.raises(StoreError, match="holds no step classifier"):
        load(str(tmp_path / "nothing"))
    (tmp_path / "step_classifier.json").write_text('{"format": 9, "settings": {}}')
    with pytest.raises(StoreError, match="format 9"):
        load(str(tmp_path))
    with pytest.raises(DataError, match="no solutions"):
        StepBag(buckets=8, width=2).fit([])
    with pytest.raises(ValueError, match="at least 1"):
        StepBag(width=0)
    with pytest.raises(DataError, match="partition"):
        StepBag(buckets=8, width=2)(Rollouts(prompt=["p"], completion=["a"]))
    assert len(StepBag(buckets=8, width=2)(with_steps([], []))) == 0


@pytest.mark.slow
def test_the_example_trains_and_its_model_answers_a_benchmark(tmp_path):
    example = Path(__file__).parents[2] / "examples/step_classifier.py"
    train = write(
        tmp_path / "train.jsonl",
        [
            {
                "question": f"{a} and {b}?",
                "answer": f"It is {a}+{b} = <<{a}+{b}={a + b}>>{a + b} all.\n#### x",
            }
            for a in range(5, 20)
            for b in range(5, 20)
        ],
    )
    done = subprocess.run(
        [sys.executable, str(example), str(tmp_path / "model"), str(train)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "held out: F1" in done.stdout
    rows = [{"id": "x-0", "problem": "3 and 4?", "steps": ["3 + 4 = 9"], "label": 0}]
    data = write(tmp_path / "d.jsonl", rows)
    arguments = ["bench", "processbench", "--data", str(data), "--reward", "bench.step_classifier"]
    found = CliRunner().invoke(app, [*arguments, "--set", f"path={tmp_path / 'model'}", "--json"])
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["metrics"]["x"]["error"] == 100.0
