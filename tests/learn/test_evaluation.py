"""Success rates and their intervals, against formulas written out by hand and simulation."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small import TASK, small_recipe

from guerdon import registry
from guerdon.data import Ragged, Rollouts, Signal
from guerdon.errors import DataError
from guerdon.learn.evaluation import evaluate, summarise
from guerdon.learn.loop import Training
from guerdon.learn.statistics import mean_interval, paired_difference, pass_at_k, wilson


@given(st.lists(st.booleans(), min_size=1, max_size=7), st.integers(1, 7))
def test_pass_at_k_counts_subsets(draws, k):
    got = pass_at_k(np.array([len(draws)]), np.array([sum(draws)]), k)[0]
    if k > len(draws):
        assert np.isnan(got)
    else:
        assert got == pytest.approx(np.mean([any(pick) for pick in combinations(draws, k)]))


def test_pass_at_k_by_hand():
    np.testing.assert_allclose(pass_at_k(np.array([4, 4, 4]), np.array([0, 1, 4]), 2), [0, 0.5, 1])


def test_wilson_by_hand():
    half = wilson(5, 10)
    assert (half.mean, half.low, half.high) == pytest.approx((0.5, 0.2366, 0.7634), abs=1e-4)
    assert wilson(0, 10).low == pytest.approx(0, abs=1e-12) and wilson(10, 10).high == pytest.approx(1)
    assert np.isnan(wilson(0, 0).mean)


def test_intervals_cover():
    rng = np.random.default_rng(0)
    hits = sum((e := mean_interval(rng.random(50) < 0.3)).low <= 0.3 <= e.high for _ in range(1000))
    assert 930 <= hits <= 975


def test_paired_difference():
    d = paired_difference(np.array([1.0, 1, 0, np.nan]), np.array([0.0, 1, 0, 1]))
    assert d.mean == pytest.approx(1 / 3) and d.low < 0 < d.high


def test_summarise_by_hand():
    rollouts = Rollouts(
        tokens=Ragged.from_lists([[1, 2], [1], [1, 2, 3], [1]], np.int32),
        group=[0, 0, 1, 1],
        truncated=[False, True, False, False],
        partitions={"step": Ragged.from_lists([[1, 2], [1], [1, 3], [1]], np.int64)},
    )
    outcome = Signal([1.0, 0.0, 1.0, np.nan], "rollout", "outcome")
    steps = Signal([1.0, 0.0, 1.0, 1.0, 1.0, np.nan], "step", "steps")
    result = summarise(rollouts, outcome, steps, k=2)
    assert result.per_problem.tolist() == [0.5, 1.0]
    assert result.pass_1.mean == 0.75 and result.unscored == 1 and result.truncated == 0.25
    assert result.pass_k.mean == 1.0  # problem 1 has one scored draw only: it leaves pass@2
    assert result.steps.mean == pytest.approx((0.75 + 1.0) / 2)
    assert set(result.metrics()) >= {"eval/pass@1", "eval/pass@2", "eval/steps_low"}


def test_evaluate_does_not_depend_on_the_batch_and_refuses_nothing():
    engine, task = Training.build(small_recipe()).engine, registry.build("task", TASK)
    a = evaluate(engine, task, problems=6, k=2, max_new_tokens=8, seed=1)
    b = evaluate(engine, task, problems=3, k=2, max_new_tokens=8, seed=1)
    np.testing.assert_array_equal(a.per_problem[:3], b.per_problem)
    with pytest.raises(DataError, match="at least one"):
        evaluate(engine, task, problems=0)
