"""RandomCalculation: worked examples, exact references, rewards, and their corruption."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon.context import Context
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.tasks import Chain, Corrupted, RandomCalculation
from guerdon.tasks.corruption import bernoulli, inverted
from guerdon.tasks.expressions import evaluate, parse
from guerdon.tasks.random_calculation import PREFIX, distance_reward


def test_distance_reward_by_hand():
    assert distance_reward(3.5, 4) == pytest.approx(0.6875, abs=1e-6)
    assert distance_reward(4, 4) == 1.0
    assert distance_reward(100, 1) == 0.0
    assert distance_reward(Fraction(1, 3), Fraction(1, 3)) == 1.0
    assert distance_reward(0, 0) == 1.0
    assert distance_reward(10**40, Fraction(1, 10**40)) == 0.0
    assert distance_reward(0.5, 0) == pytest.approx(1 - 0.25 - 0.5), "relative to zero any error is total"
    # Closer than a float can tell is not equal.
    assert distance_reward(Fraction(10**20 + 1, 10**20), 1) <= 1.0


@given(st.fractions(-1000, 1000), st.fractions(-1000, 1000))
def test_distance_reward_is_the_formula(a, b):
    x, y = float(a), float(b)
    expected = 1 - 0.5 * min(abs(x - y), 1) - 0.5 * min(abs(x - y) / (abs(y) + 1e-6), 1)
    assert distance_reward(a, b) == pytest.approx(expected, abs=1e-6)
    assert 0.0 <= distance_reward(a, b) <= 1.0


@pytest.mark.parametrize("operations", [1, 2, 5, 10, 20])
@pytest.mark.parametrize("notation", ["plain", "latex"])
def test_references_are_exact(operations, notation):
    task = RandomCalculation(operations, notation=notation)
    for problem in task.problems("train", 10):
        expression = problem.meta["expression"]
        assert evaluate(parse(expression, powers=True)) == Fraction(problem.reference)
        assert problem.prompt.startswith(PREFIX)
        assert (
            problem.prompt.endswith(expression) == (notation == "plain")
            or "\\" not in problem.prompt[len(PREFIX) :]
        )
        assert problem.solution.count("\n") == operations, "one line per operation, then the answer"


def test_worked_lines_are_true():
    for problem in RandomCalculation(6).problems("train", 20):
        *lines, last = problem.solution.split("\n")
        for line in lines:
            left, right = line.split(" = ")
            assert evaluate(parse(left)) == Fraction(right)
        assert last == f"\\boxed{{{right}}}"


def test_elements_choose_what_expressions_are_made_of():
    (whole,) = RandomCalculation(1, ["integer"], notation="plain", prefix="").problems("train", 1)
    assert "^" not in whole.prompt
    squares = RandomCalculation(1, ["square"], notation="plain", prefix="").problems("train", 5)
    assert all(p.prompt.count("^2") == 2 for p in squares)


TASK = RandomCalculation()


@pytest.mark.parametrize(
    ("completion", "check", "score"),
    [
        (r"so \boxed{7/2}", 1.0, 1.0),
        (r"\boxed{3.5}", 1.0, 1.0),
        (r"\boxed{\frac{7}{2}}", 1.0, 1.0),
        (r"\boxed{7/2} or \boxed{4}", 0.0, 1 - 0.25 - 0.5 / 7),
        (r"\boxed{−3.5}", 0.0, 0.0),
        ("3.5", 0.0, 0.0),
        (r"\boxed{3.5 or 4}", 0.0, 0.0),
        (r"\boxed{13.5}", 0.0, 0.0),
        (r"\boxed{3.50}", 1.0, 1.0),
        (r"\boxed{7/0}", 0.0, 0.0),
        (r"\boxed{" + "9" * 5000 + "}", 0.0, 0.0),
        (r"\boxed{３.5}", 0.0, 0.0),
        ("", 0.0, 0.0),
    ],
)
def test_check_and_score(completion, check, score):
    assert TASK.check(completion, "7/2") == check
    assert TASK.score(completion, "7/2", {}) == pytest.approx(score, abs=1e-6)
    assert RandomCalculation(reward="exact").score(completion, "7/2", {}) == check


def test_missing_ground_truth_is_nan():
    assert math.isnan(TASK.check(r"\boxed{1}", None)) and math.isnan(TASK.check(r"\boxed{1}", "about 3"))


def test_inverted_by_hand():
    signal = Signal(np.array([0.6875, 1.0, 0.0, np.nan]), "rollout", "outcome", {3: "reference missing"})
    out = inverted(signal)
    np.testing.assert_array_equal(out.values, [0.3125, 0.0, 1.0, np.nan])
    assert out.causes == signal.causes and (out.level, out.name) == ("rollout", "outcome")


def test_bernoulli_ignores_the_answers_and_keeps_missing_missing():
    ones, zeros = Signal(np.ones(20_000), "rollout"), Signal(np.zeros(20_000), "rollout")
    a, b = bernoulli(ones, 0.3, seed=5, step=2), bernoulli(zeros, 0.3, seed=5, step=2)
    np.testing.assert_array_equal(a.values, b.values)
    assert a.values.mean() == pytest.approx(0.3, abs=0.015)
    assert not np.array_equal(a.values, bernoulli(ones, 0.3, seed=5, step=3).values)
    assert not np.array_equal(a.values, bernoulli(ones, 0.3, seed=6, step=2).values)
    gone = bernoulli(Signal(np.array([np.nan, 1.0]), "rollout"), 1.0)
    np.testing.assert_array_equal(gone.values, [np.nan, 1.0])
    assert bernoulli(ones, 0.0).values.sum() == 0 and bernoulli(ones, 1.0).values.min() == 1


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 100))
def test_a_corrupted_task_pays_noise_and_checks_honestly(step):
    task = Chain()
    problems = task.problems("train", 8)
    data = Rollouts(
        completion=[p.solution if i % 2 else "#0" for i, p in enumerate(problems)],
        reference=[p.reference for p in problems],
        meta=[p.meta for p in problems],
    )
    wrong = Corrupted(task, "inverted")
    np.testing.assert_array_equal(wrong.outcome(data).values, 1 - task.outcome(data).values)
    noise = Corrupted(task, "random", seed=3)
    ctx = Context(step=step)
    np.testing.assert_array_equal(noise.outcome(data, ctx).values, noise.outcome(data, ctx).values)
    assert wrong.problems("train", 8) == problems
    assert wrong.check(problems[0].solution, problems[0].reference, problems[0].meta) == 1.0
    assert (wrong.name, noise.name, noise.has_steps) == ("inverted_chain", "random_chain", True)


def test_corruption_parameters_are_checked():
    with pytest.raises(ValueError, match="how must be"):
        Corrupted(Chain(), "sideways")
    with pytest.raises(ValueError, match="p must lie"):
        Corrupted(Chain(), p=2)
