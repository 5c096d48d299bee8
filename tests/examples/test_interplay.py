"""The interplay study: its world reads back, its reward is the system's, and it runs from end to end."""

from __future__ import annotations

import importlib
import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from guerdon import Rollouts
from guerdon.registry import build

EXAMPLE = Path(__file__).parents[2] / "examples" / "interplay"
DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def lab():
    """The example's modules, imported as its own folder would."""
    names = ("world", "phases", "study", "plot")
    sys.path.insert(0, str(EXAMPLE))
    try:
        yield {name: importlib.import_module(name) for name in names}
    finally:
        sys.path.remove(str(EXAMPLE))
        for name in names:
            sys.modules.pop(name, None)


@pytest.mark.parametrize("form", ["zoo", "school"])
def test_worked_solutions_are_right_by_the_system_s_reward(lab, form):
    problems = lab["world"].Quantities((1, 8), form).problems("train", 40)
    tokens = lab["world"].Phrases()
    references = [problem.reference for problem in problems]
    solutions = [problem.solution for problem in problems]
    for problem in problems:
        for text in (problem.prompt, problem.solution):
            assert tokens.decode(tokens.encode(text)) == text
        assert len(tokens.encode(problem.solution)) == 4 * problem.meta["operations"] + 3
    reward = build("reward", {"use": "interplay-lab"})
    rollouts = Rollouts(prompt=["q"] * 40, completion=solutions, reference=references)
    assert reward(rollouts).values.tolist() == [1.0] * 40
    other = [text.replace("+ 1", "- 1").replace("- 2", "+ 2") for text in solutions]
    unlike = rollouts.replace(completion=[text.split("<answer>")[0] for text in other])
    assert reward(unlike).values.tolist() == [0.0] * 40


def test_a_right_answer_over_a_skipped_step(lab):
    solution = (
        "Define apes as a; so a = 4. Define bears as b; so b = a + 3 = 7. "
        "Define camels as c; so c = b - 2 = 5. <answer>5</answer>"
    )
    short = "Define apes as a; so a = 4. Define camels as c; so c = a + 1 = 5. <answer>5</answer>"
    reference = {"answer": "5", "solution": solution}
    rollouts = Rollouts(prompt=["q"], completion=[short], reference=[reference])
    total, parts = build("reward", {"use": "interplay-lab"}).explain(rollouts)
    assert parts["process"].values[0] == pytest.approx(1 / 3)  # bears missing, camels worked out of apes
    assert total.values[0] == pytest.approx(0.2 + 0.8 / 3)
    outcome = build("reward", dict(lab["phases"].REWARDS["outcome"]))
    assert outcome(rollouts).values[0] == 1.0


def test_unknown_words_are_refused(lab):
    with pytest.raises(ValueError, match="not written in the phrases"):
        lab["world"].Phrases().encode("zebras = 4. ")


def test_the_study_runs_goes_on_and_draws(lab, tmp_path, monkeypatch):
    scale = replace(
        lab["phases"].Scale(),
        dim=16,
        layers=1,
        pretrain=((3, 1e-3),),
        documents=4,
        rl_steps=1,
        prompts=2,
        group=2,
        problems=2,
        k=16,
    )
    out = tmp_path / "results.json"
    first = lab["study"].run(out, 1, scale)
    again = json.loads(out.read_text())
    monkeypatch.setattr(lab["study"], "pretrained", None)  # nothing is left to train
    assert lab["study"].run(out, 1, scale)["findings"].keys() == first["findings"].keys()
    assert json.loads(out.read_text())["seeds"] == again["seeds"]
    arms = again["seeds"]["0"]
    assert arms["mid-rl"]["cost"]["tokens"] > arms["rl"]["cost"]["tokens"] / 2
    for finding in again["findings"].values():
        assert finding["verdict"] == "inconclusive"  # one seed
    lab["plot"].draw(again, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000
    with pytest.raises(SystemExit, match="another scale"):
        lab["study"].run(out, 1, replace(scale, rl_steps=2))


@pytest.mark.parametrize("name", ["interplay_lab.json", "interplay_lab_again.json"])
def test_stored_verdicts_follow_from_stored_values(lab, name):
    stored = json.loads((DOCS / name).read_text())
    assert len(stored["seeds"]) >= 5
    found = lab["study"].verdicts(stored["seeds"])
    for name, finding in stored["findings"].items():
        assert finding["verdict"] == found["findings"][name]["verdict"]
        for kept, made in zip(finding["comparisons"], found["findings"][name]["comparisons"], strict=True):
            assert kept["verdict"] == made["verdict"]
            assert math.isclose(kept["difference"], made["difference"], abs_tol=1e-3)
