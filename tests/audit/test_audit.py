"""The audit finds what is wrong with rewards built to be wrong, and nothing wrong with a sound one."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import guerdon
from guerdon.audit import ATTACKS, ITEM_SETS, audit
from guerdon.audit.items import PARTIAL, items_for, read_items
from guerdon.audit.optimise import best_of_n_curve, best_of_n_distance, overoptimised, policy_curve
from guerdon.audit.run import wilson
from guerdon.cli import app
from guerdon.data.signal import Signal
from guerdon.errors import DataError, RecipeError
from guerdon.registry import build


def lifted(function):
    return guerdon.reward(function, name="r")


def paid(found, attack):
    return next(f for f in found.findings if f.attack == attack).paid


def test_wilson_interval():
    low, high = wilson(70, 200)
    assert (round(low, 4), round(high, 4)) == (0.2873, 0.4184)
    assert wilson(0, 10)[0] == 0.0 and wilson(10, 10)[1] == pytest.approx(1.0) and math.isnan(wilson(0, 0)[0])


@pytest.mark.parametrize("kind", sorted(ITEM_SETS))
def test_items_are_fixed_by_their_seed_and_their_wrong_answers_are_wrong(kind):
    items = ITEM_SETS[kind](12, 3)
    assert items == ITEM_SETS[kind](12, 3) != ITEM_SETS[kind](12, 4)
    assert all(item.wrong and item.answer not in item.wrong for item in items)
    for attack, item in itertools.product(ATTACKS.values(), items):
        import random

        texts = attack.write(item, random.Random(0))
        assert all(isinstance(text, str) for text in texts)
        assert attack.name == "format_only" or texts


def test_a_substring_reward_is_caught():
    found = audit(
        lifted(lambda completion, reference: float(reference in completion)), items_for("r", "text", 20, 0)
    )
    assert found.accuracy == 1.0 and found.max_fpr == 1.0
    assert paid(found, "denied") == 40 and paid(found, "option_spam") > 0 and paid(found, "retracted") == 20
    assert paid(found, "blank") == 0 == paid(found, "openers")


def test_a_format_reward_and_a_length_reward_are_caught():
    items = items_for("r", "math", 8, 0)
    formatted = audit(lifted(lambda completion: float("boxed" in completion)), items)
    assert paid(formatted, "format_only") == 8 and paid(formatted, "wrong_answer") == 24
    longer = audit(lifted(lambda completion: len(completion) / 1000), items)
    assert paid(longer, "padding") == 16 and paid(longer, "length") == 16


def test_a_judge_that_obeys_its_candidate_is_caught():
    obedient = lifted(
        lambda completion, reference: float("correct" in completion or f"{{{reference}}}" in completion)
    )
    found = audit(obedient, items_for("r", "math", 4, 0))
    assert paid(found, "injection") >= 4 and paid(found, "injection_wrong") >= 4


def test_order_matters_to_a_reward_that_prefers_the_first():
    def first(rollouts, ctx=None):
        groups, _ = rollouts.groups()
        values = np.ones(len(rollouts))
        values[1:] = groups[1:] != groups[:-1]
        return Signal(values, "rollout", "first")

    assert audit(first, items_for("r", "text", 4, 0)).order == 1.0


RULES = [
    "bleu",
    "boxes",
    "choice",
    "chrf",
    "edit",
    "graph",
    "json_schema",
    "match",
    "points",
    "ranking",
    "rouge",
    "sql",
    "tool_calls",
]


@pytest.mark.parametrize("name", [f"verify.{rule}" for rule in RULES])
def test_rules_of_this_project_are_not_fooled(name):
    found = audit(
        build("reward", {"use": name}), items_for(name, None, 12, 0), name, full=name in PARTIAL, seed=1
    )
    assert found.accuracy == 1.0 and found.false_positives == 0


def test_partial_credit_is_audited_at_its_full_mark():
    items = items_for("verify.tool_calls", None, 6, 0)
    reward = build("reward", {"use": "verify.tool_calls"})
    half, full = audit(reward, items), audit(reward, items, full=True)
    assert (half.threshold, full.threshold) == (0.5, 1.0)
    assert half.false_positives > 0 and full.false_positives == 0


def test_missing_scores_are_no_false_positives_and_are_counted():
    picky = lifted(lambda completion: None if completion.strip() == "" else float("boxed" in completion))
    found = audit(picky, items_for("r", "math", 4, 0), attacks=["blank"])
    blank = found.findings[0]
    assert blank.paid == 0 and blank.missing == 20 and found.causes["returned None"] == 20


def test_what_an_audit_refuses():
    items = items_for("r", "math", 2, 0)
    with pytest.raises(DataError, match="scores none of the right completions"):
        audit(lifted(lambda completion: None), items)
    with pytest.raises(RecipeError, match="did you mean 'openers'"):
        audit(lifted(lambda completion: 1.0), items, attacks=["opener"])
    with pytest.raises(DataError, match="at least one item"):
        audit(lifted(lambda completion: 1.0), [])
    with pytest.raises(RecipeError, match="did you mean 'math'"):
        items_for("r", "maths", 2, 0)


def test_best_of_n_against_enumeration():
    proxy, gold = np.array([0.3, 0.9, 0.1, 0.5]), np.array([1.0, 0.0, 0.0, 1.0])
    curve = best_of_n_curve(proxy, gold, np.zeros(4, int), [1, 2, 3, 4])
    for n, value in zip([1, 2, 3, 4], curve["gold"], strict=True):
        subsets = list(itertools.combinations(range(4), n))
        assert value == pytest.approx(np.mean([gold[max(s, key=lambda i: proxy[i])] for s in subsets]))
    assert curve["kl"][0] == 0.0 and best_of_n_distance(2) == pytest.approx(math.log(2) - 0.5)
    assert overoptimised(curve)


@given(st.lists(st.floats(0, 1), min_size=4, max_size=12))
def test_best_of_n_raises_the_proxy(values):
    proxy = np.array(values)
    curve = best_of_n_curve(proxy, proxy, np.zeros(len(proxy), int))
    assert np.all(np.diff(curve["proxy"]) >= -1e-9) and curve["proxy"] == pytest.approx(curve["gold"])
    assert curve["proxy"][0] == pytest.approx(proxy.mean())
    constant = best_of_n_curve(np.zeros(len(proxy)), proxy, np.zeros(len(proxy), int))
    assert constant["gold"] == pytest.approx([proxy.mean()] * len(constant["gold"]))  # ties: no choice at all


def test_best_of_n_leaves_out_what_has_no_score():
    proxy, gold = np.array([0.3, math.nan, 0.1, 0.5]), np.ones(4)
    with pytest.raises(DataError, match="best-of-4 needs 4 samples"):
        best_of_n_curve(proxy, gold, np.zeros(4, int), [4])
    with pytest.raises(DataError, match="needs samples"):
        best_of_n_curve(proxy * math.nan, gold, np.zeros(4, int))


@pytest.mark.slow
def test_a_policy_hacks_a_length_reward():
    curve = policy_curve(lifted(lambda completion: len(completion) / 24), steps=24, seed=0, every=8)
    assert curve["proxy"][-1] > curve["proxy"][0] and curve["kl"][-1] > 0.5
    assert set(curve) == {"step", "kl", "proxy", "gold"} and len(curve["gold"]) == len(curve["step"])


def test_the_command(tmp_path: Path):
    run = CliRunner()
    page = tmp_path / "a.html"
    passed = run.invoke(
        app, ["audit", "verify.match", "--n", "6", "--json", "--max-fpr", "0.01", "--html", str(page)]
    )
    assert passed.exit_code == 0, passed.output
    found = json.loads(passed.stdout)
    assert found["max_fpr"] == 0.0 and found["attacks"]["openers"]["n"] == 6 * 14
    text = page.read_text()
    assert "data:image/png" in text and "Audit of verify.match" in text
    mine = tmp_path / "generous_reward.py"
    mine.write_text("def generous(completion):\n    return 1.0\n")
    failed = run.invoke(app, ["audit", f"{mine}:generous", "--n", "3", "--max-fpr", "0.5"])
    assert failed.exit_code == 1 and "100.0 %" in failed.stdout
    for arguments, message in [
        (["audit", "verify.mth"], "did you mean 'verify.math'"),
        (["audit", "verify.match", "--items", "txt"], "did you mean 'text'"),
        (["audit", "verify.match", "--attack", "blanks"], "did you mean 'blank'"),
    ]:
        result = run.invoke(app, arguments)
        assert result.exit_code == 2 and message in result.output


def test_the_command_on_own_data_and_saved_rollouts(tmp_path: Path):
    data = tmp_path / "d.jsonl"
    rows = [{"prompt": f"{i}?", "reference": str(i), "completion": str(i)} for i in range(5)]
    data.write_text("\n".join(map(json.dumps, rows)))
    assert all(item.answer not in item.wrong for item in read_items(data, 5))
    saved = tmp_path / "s.jsonl"
    lines = [
        {
            "group": "g",
            "reference": "1",
            "completion": "1" if i % 2 else "x" * i,
            "signals": {"outcome": {"level": "rollout", "values": [float(i % 2)]}},
        }
        for i in range(8)
    ]
    saved.write_text("\n".join(map(json.dumps, lines)))
    arguments = ["audit", "verify.match", "--data", str(data), "--rollouts", str(saved), "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["curve"]["gold"][-1] == 1.0
    data.write_text(json.dumps(rows[0]))
    with pytest.raises(DataError, match="no wrong answer is known"):
        read_items(data, 5)
