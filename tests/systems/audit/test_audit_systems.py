"""The audit systems through their entries: worked numbers, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

import guerdon
from guerdon.context import Context
from guerdon.data.signal import Signal
from guerdon.errors import DataError, RecipeError
from guerdon.registry import build
from guerdon.systems import catalogue
from guerdon.systems.audit import cognitive_behaviors as habits
from guerdon.systems.audit import master_rm as keys
from guerdon.systems.audit import thinking_to_output as profiles


def make(slug, **settings):
    return catalogue.find(slug).factory(**settings)


def test_starc_entry():
    from guerdon.audit.reward_distance import MDP

    transition = np.zeros((2, 2, 2))
    transition[:, 0, 0] = transition[:, 1, 1] = 1
    mdp = MDP(transition, np.array([0.5, 0.5]), 0.9)
    reward = np.array([[0.0, 1], [0, 1]])
    assert make("starc")(mdp, reward, -reward) == pytest.approx(2)
    assert make("starc", form="least")(mdp, reward, 2 * reward) == pytest.approx(0, abs=1e-12)


def test_confidence_entry():
    report = make("thinking-out-loud")(["confidence: 95%", "confidence: 35%"], [1, 0])
    assert report["ece"] == pytest.approx(0.2) and report["auroc"] == 1.0


def test_habits_by_rule_and_by_judge():
    traces = ["Let me check that 22 is the target.", "So it is 22.", "We verify the sum."]
    by_rule = make("cognitive-behaviors")(traces)
    assert by_rule["verification"]["total"] == 2 and by_rule["backtracking"]["total"] == 0
    replies = iter(["<count>2</count>", "none", "<count>0</count> so <count>1</count>"] * 4)
    judged = make("cognitive-behaviors", ask=lambda prompts: [next(replies) for _ in prompts])(traces)
    assert judged["verification"]["average"] == 1.5 and judged["verification"]["unread"] == 1
    assert judged["subgoal"]["replies"][1] == "none"
    counts = iter(["<count>2</count>", "<count>0</count>", "<count>1</count>"] * 4)
    assert (
        make("cognitive-behaviors", ask=lambda p: [next(counts) for _ in p])(traces)["subgoal"]["average"]
        == 1.0
    )
    assert habits.judge_count("7") is None
    assert "</trace>" not in habits._prompt("subgoal", "a</trace>b").replace("\n</trace>\n", "")


def test_profile_with_a_judge():
    assert profiles.judge_score("# thescore: 4") == 4 and profiles.judge_score("score 4") is None
    assert profiles.judge_score("# thescore: 9") is None
    replies = iter(["# thescore: 4", "bad", "# thescore: 2", "# thescore: 3"])
    report = make("thinking-to-output", ask=lambda prompts: [next(replies) for _ in prompts])(
        ["wait, so", "thus"], ["so", "thus"], ["a", "b"]
    )
    assert (report["thinking_score"], report["thinking_unread"], report["output_score"]) == (4.0, 1, 2.5)


def batch():
    return guerdon.Rollouts(
        prompt=["q"] * 4,
        completion=["\\boxed{1}", "\\boxed{1}", "\\boxed{2}", "wait, let me check: therefore"],
        group=[0] * 4,
        reference=["2"] * 4,
    )


def test_noisy_rewards():
    truth = lambda r, ctx=None: Signal([0.0, 0.42, 1.0, 0.55], "rollout", "t")  # noqa: E731
    flipped = make("noisy-reward-rpr", reward=truth, p=1.0)(batch()).values
    assert flipped.tolist() == [1.0, 0.42, 0.0, 0.55]
    pattern = build("reward", {"use": "noisy-reward-rpr", "mode": "pattern"})(batch()).values
    assert pattern[3] > 0 and pattern[0] == 0
    lifted = make("noisy-reward-rpr", reward=truth, mode="calibrate")(batch()).values
    assert lifted[2:].tolist() == [1.0, 0.55]
    warm = make("noisy-reward-rpr", reward=truth, mode="warmup", warmup=5)
    assert warm(batch(), Context(step=4)).values == pytest.approx(pattern)
    assert warm(batch(), Context(step=5)).values.tolist() == [0.0, 0.42, 1.0, 0.55]
    wrong = build("reward", {"use": "noisy-reward-rpr", "mode": "wrong", "reward": {"use": "verify.math"}})(
        batch()
    )
    assert wrong.values[2] == 1.0 and wrong.values[3] == pytest.approx(pattern[3])
    with pytest.raises(RecipeError, match="mode must be one of"):
        make("noisy-reward-rpr", mode="x")
    with pytest.raises(RecipeError, match="needs a reward"):
        make("noisy-reward-rpr")


def test_spurious_rewards():
    values = {kind: make("spurious-reward-entropy", kind=kind)(batch()).values.tolist() for kind in
              ("constant", "format", "majority", "majority_wrong")}  # fmt: skip
    assert values == {
        "constant": [1, 1, 1, 1],
        "format": [1, 1, 1, 0],
        "majority": [1, 1, 0, 0],
        "majority_wrong": [1, 1, 0, 0],
    }
    assert set(make("spurious-reward-entropy")(batch()).values) <= {0.0, 1.0}
    with pytest.raises(RecipeError, match="kind must be one of"):
        make("spurious-reward-entropy", kind="lucky")


def test_master_keys():
    gullible = guerdon.reward(
        lambda completion: float("Solution" in completion or completion == ":"), name="g"
    )
    report = make("master-rm")(gullible, ["q"] * 5, ["1"] * 5)
    assert (
        report["max_fpr"] == 1.0
        and report["keys"]["Solution"]["fpr"] == 1.0
        and report["keys"]["."]["fpr"] == 0.0
    )
    strict = make("master-rm")(build("reward", {"use": "verify.math"}), ["q"] * 3, ["1"] * 3)
    assert strict["max_fpr"] == 0.0
    with pytest.raises(DataError, match="at least one"):
        make("master-rm")(strict, [], [])


def test_hardening_examples():
    assert keys.first_sentence("Let me think. First we add.") == "Let me think."
    rows = [{"question": "q", "response": "Let me think. It is 4.", "reference": "4", "label": 1}] * 16
    made = keys.hardening_examples(
        [*rows, {"question": "q", "response": "4", "reference": "4", "label": 1}], 0.25
    )
    added = made[17:]
    assert len(added) == 4 and all(r["label"] == 0 and r["response"] == "Let me think." for r in added)
    assert keys.kappa([1, 1, 0, 0, 1, 0, 1, 0, 1, 0], [1, 1, 0, 0, 1, 0, 1, 0, 0, 1]) == pytest.approx(0.6)
