"""Metrics of the benchmarks, worked by hand, and their properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon.bench import judgebench, multi_rm, prmbench, processbench, rewardbench2, rewardmath, rmbench
from guerdon.bench.aggregate import AGGREGATIONS, aggregate
from guerdon.bench.report import mean, statistic
from guerdon.errors import RecipeError

STEPS = [0.9, 0.8, 0.5]
scores = st.lists(st.floats(-5, 5).map(lambda x: round(x, 1)), min_size=1, max_size=9)


@pytest.mark.parametrize(
    ("how", "value"),
    [
        ("min", 0.5),
        ("max", 0.9),
        ("prod", 0.36),
        ("geometric_mean", 0.711379),
        ("mean", 0.733333),
        ("last", 0.5),
        ("mean_logit", 0.767546),
        ("mean_odd", 4.666667),
    ],
)
def test_aggregations(how, value):
    assert aggregate(STEPS, how) == pytest.approx(value, abs=1e-6)
    assert math.isnan(aggregate([], how)) and math.isnan(aggregate([0.5, math.nan], how))


def test_aggregations_stay_finite_at_0_and_1_and_refuse_unknown_names():
    assert all(math.isfinite(aggregate([0.0, 1.0], how)) for how in AGGREGATIONS)
    with pytest.raises(RecipeError, match="did you mean 'prod'"):
        aggregate(STEPS, "product")


def test_one_to_many():
    assert rewardmath.one_to_many(7, [7, 5, 1]) == (0, 1, 0.5)
    assert rewardmath.one_to_many(8, [7, 5]) == (1, 1, 1)
    assert all(math.isnan(v) for v in rewardmath.one_to_many(8, [7, math.nan]))
    assert rewardmath.one_to_many(*rewardmath.pairwise_scores([True] * 9)) == (1, 1, 1)
    assert rewardmath.one_to_many(*rewardmath.pairwise_scores([True] * 8 + [False])) == (0, 0, 0.5)


@given(st.floats(-5, 5), scores)
def test_one_to_many_against_sorting(chosen, rejected):
    order = sorted([(s, "rej") for s in rejected] + [(chosen, "cho")], reverse=True)
    strict, lenient, rank = rewardmath.one_to_many(chosen, rejected)
    assert rank == 1 / (1 + [tag for _, tag in order].index("cho"))
    assert strict <= lenient and (strict == 1) == (rank == 1)


def test_judgebench_counts_both_orders():
    right = [
        ("A>B", "A>B"),
        ("A>B", "A=B"),
        (None, "A>B"),
    ]
    wrong = [("A>B", "B>A"), ("A=B", "A=B"), (None, None), ("B>A", "A=B")]
    assert [judgebench.outcome("A>B", *pair) for pair in right] == [1, 1, 1]
    assert [judgebench.outcome("A>B", *pair) for pair in wrong] == [0, 0, 0, -1]
    assert (
        judgebench.flip("A>B") == "B>A" and judgebench.flip("A=B") == "A=B" and judgebench.flip(None) is None
    )
    assert judgebench.decision_of([1.0, 1.0]) == "B>A"


def test_a_judge_that_prefers_a_position_is_never_right():
    rows = [
        {"pair_id": i, "source": "mmlu-pro-law", "label": label} for i, label in enumerate(["A>B", "B>A"] * 5)
    ]
    report = judgebench.report(rows, [("A>B", judgebench.flip("A>B"))] * 10)
    assert report.metrics["accuracy"] == {"knowledge": 0.0, "overall": 0.0}
    assert report.metrics["first_order"]["overall"] == 50.0


def test_harmonic_mean_of_accuracies():
    assert processbench.harmonic(60.0, 90.0) == pytest.approx(72.0)
    assert processbench.harmonic(45.2, 83.0) == pytest.approx(58.5273, abs=1e-4)
    assert processbench.harmonic(0.0, 0.0) == 0.0


def test_first_error_and_votes():
    assert processbench.first_below([0.9, 0.8, 0.3, 0.95], 0.5) == 2
    assert processbench.first_below([0.9, 0.5], 0.5) == -1
    assert processbench.vote(["2", "2", "-1", None]) == 2
    assert processbench.vote([None]) is None and processbench.vote(["two"]) is None


@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from([0.1, 0.3, 0.5, 0.7]), min_size=1, max_size=5), st.integers(-1, 4)
        ),
        min_size=1,
        max_size=12,
    )
)
def test_the_best_threshold_against_trying_all(examples):
    lists = [values for values, _ in examples]
    labels = [min(label, len(values) - 1) for values, label in examples]

    def f1(threshold):
        got = [processbench.first_below(values, threshold) for values in lists]
        wrong = [g == w for g, w in zip(got, labels, strict=True) if w != -1]
        right = [g == w for g, w in zip(got, labels, strict=True) if w == -1]
        return float(processbench.harmonic(sum(wrong) / max(len(wrong), 1), sum(right) / max(len(right), 1)))

    threshold, best = processbench.best_threshold(lists, labels)
    assert best == pytest.approx(f1(threshold))
    assert best == pytest.approx(max(f1(t) for t in [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]))


def _examples(n=200, seed=0):
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        steps = int(rng.integers(3, 9))
        label = int(rng.integers(steps)) if rng.random() < 0.5 else -1
        rows.append({"id": f"chain-{i}", "problem": "", "steps": ["s"] * steps, "label": label})
    return rows


def test_f1_falls_with_the_noise_of_a_step_scorer():
    rows, found = _examples(), []
    for noise in (0.0, 0.3, 0.6, 1.2):
        rng = np.random.default_rng(1)
        lists = [
            (
                np.where(np.arange(len(r["steps"])) == r["label"], 0.0, 1.0)
                + noise * rng.normal(size=len(r["steps"]))
            ).tolist()
            for r in rows
        ]
        found.append(processbench.score_report(rows, lists, 0.5).metrics["average_f1"])
    assert found[0] == 100.0 and found == sorted(found, reverse=True)
    assert processbench.report(rows, [-1] * len(rows), [True] * len(rows)).metrics["average_f1"] == 0.0


def test_best_of_four_and_ties():
    assert rewardbench2.best_of([3, 3, 1, 0]) == 0.5
    assert rewardbench2.best_of([2, 3, 1, 0]) == 0.0
    assert rewardbench2.best_of([1, 1, 1, 1]) == 0.25
    assert rewardbench2.margins([3, 2, 1], 2) == (True, 1, 1)
    assert rewardbench2.margins([3, 2, 1], 1) == (True, 1, None)
    score = rewardbench2.ties_score({"1": (0.3, 0.1), "2": (0.2, 0.5)}, {"1": 0.4, "2": 0.1}, (1.0, 1.0))
    assert score == pytest.approx(0.801500, abs=1e-6)
    assert rewardbench2.ties_score({"1": (0.3, 0.0)}, {"1": 0.4}, (1.0, 1.0)) == pytest.approx(1.01)


def test_random_scores_earn_a_quarter():
    rng = np.random.default_rng(0)
    rows = [
        {"id": str(i), "chosen": ["a"], "rejected": ["b", "c", "d"], "subset": "Math"} for i in range(4000)
    ]
    report = rewardbench2.report(rows, rng.normal(size=(4000, 4)).tolist())
    assert report.metrics["average"] == pytest.approx(25, abs=2.5)


def test_multi_rm_rules():
    answers, rewards = ["A", "B", "B"], [0.9, 0.5, 0.5]
    assert [multi_rm.choose(answers, rewards, rule) for rule in multi_rm.RULES[:3]] == ["a", "b", "b"]
    assert multi_rm.yes_probability(-0.1, -2.4) == pytest.approx(0.908877, abs=1e-6)
    assert multi_rm.yes_probability(-0.1, None) == 1.0 and multi_rm.yes_probability(None, -0.1) == 0.0
    assert math.isnan(multi_rm.yes_probability(None, None))
    assert multi_rm.solution_reward([], "min") == 0.5 == multi_rm.solution_reward([None], "min")


def test_step_wise_aggregation_compounds_errors_with_length():
    rng, flip = np.random.default_rng(0), 0.1
    for length in (1, 4, 16):
        steps = (rng.random((4000, length)) > flip).astype(float)
        rejected = np.mean([aggregate(row, "min") for row in steps] == np.zeros(4000))
        assert rejected == pytest.approx(1 - (1 - flip) ** length, abs=0.03)


def test_rmbench_levels():
    wins_on_style_only = np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])
    rows = [{"id": "1", "domain": "chat"}]
    metrics = rmbench.report(rows, [wins_on_style_only]).metrics["overall"]
    assert metrics == {"hard": 0.0, "normal": 0.0, "easy": 100.0, "average": pytest.approx(100 / 3)}


def test_prmbench_counts_steps():
    rows = [{"idx": "1", "classification": "circular", "modified_process": ["a"] * 4, "error_steps": [2, 4]}]
    metrics = prmbench.report(rows, [[0.9, 0.2, 0.4, 0.8]]).metrics["overall"]
    assert metrics["f1"] == pytest.approx(50.0) and metrics["negative_f1"] == pytest.approx(50.0)
    assert metrics["first_error"] == 100.0 and metrics["correct_steps"] == 50.0 == metrics["wrong_steps"]


def test_intervals_cover_and_shrink():
    values = np.random.default_rng(0).random(400)
    metric = mean(values)
    assert metric.low < metric.value < metric.high and metric.high - metric.low < 8
    assert math.isnan(mean([]).value) and math.isnan(mean([1.0]).low)
    assert math.isnan(statistic([np.array([]), np.array([1.0])], processbench.harmonic).value)
