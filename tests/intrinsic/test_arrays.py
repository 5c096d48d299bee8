"""Reducers, votes, running statistics, memory, beliefs, collapse: numbers worked by hand and properties."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon.data.rollouts import Rollouts
from guerdon.errors import DataError, RecipeError
from guerdon.intrinsic import (
    Average,
    Belief,
    CollapseWatch,
    EpisodicMemory,
    Window,
    cluster,
    cluster_probability,
    collapse_metrics,
    information_gains,
    log_mean_exp,
    reduce_logprobs,
    relative_perplexity_drop,
    semantic_entropy,
    winner,
)
from guerdon.intrinsic.likelihoods import monte_carlo_perplexity
from guerdon.intrinsic.memory import distance_to_centroid, novelty
from guerdon.intrinsic.votes import agreement, partners

probabilities = st.lists(st.floats(1e-4, 1.0), min_size=1, max_size=6)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("prob", 0.0720),
        ("mean_prob", 0.6000),
        ("geometric", 0.4160),
        ("sum", -2.6311),
        ("mean", -0.8770),
        ("perplexity", 1 / 0.4160),
    ],
)
def test_reducers_of_three_tokens(how, expected):
    values = np.log([0.9, 0.8, 0.1])
    assert reduce_logprobs(values, np.array([0, 3]), how)[0] == pytest.approx(expected, abs=1e-4)


@given(st.lists(probabilities, min_size=1, max_size=5))
def test_reducers_agree_with_plain_loops(spans):
    offsets = np.concatenate([[0], np.cumsum([len(s) for s in spans])])
    flat = np.log(np.concatenate(spans))
    for how, plain in {
        "sum": lambda p: sum(map(math.log, p)),
        "prob": math.prod,
        "mean_prob": lambda p: sum(p) / len(p),
        "geometric": lambda p: math.prod(p) ** (1 / len(p)),
    }.items():
        np.testing.assert_allclose(
            reduce_logprobs(flat, offsets, how), [plain(s) for s in spans], rtol=1e-9, atol=1e-300
        )


def test_empty_spans_are_missing_and_a_floor_bounds_tokens():
    for how in ("sum", "mean", "prob", "mean_prob", "geometric", "perplexity"):
        assert np.isnan(reduce_logprobs(np.array([-1.0]), np.array([0, 0, 1]), how)[0])
    assert reduce_logprobs(np.array([-np.inf, -1.0]), np.array([0, 2]), "sum", floor=-100.0)[0] == -101.0
    with pytest.raises(RecipeError, match="reduce"):
        reduce_logprobs(np.zeros(1), np.array([0, 1]), "median")


def test_log_mean_exp_and_monte_carlo_perplexity():
    assert log_mean_exp(np.log([0.5, 0.1])) == pytest.approx(math.log(0.3))
    assert log_mean_exp(np.array([-np.inf, -np.inf])) == -np.inf
    assert monte_carlo_perplexity(np.log([0.25, 0.25]), 2) == pytest.approx(2.0)
    assert np.isnan(log_mean_exp(np.empty((3, 0)))).tolist() == [True] * 3
    assert np.isnan(monte_carlo_perplexity(np.empty(0), 2))


def test_perplexity_drop_is_bounded_on_both_sides():
    assert relative_perplexity_drop(np.array([4.0]), np.array([1.5]))[0] == -1.0
    drop = relative_perplexity_drop(np.exp([0.2]), np.exp([1.1]))[0]
    assert drop == pytest.approx(0.5934, abs=1e-4)


def test_blank_answers_never_vote():
    found = cluster([None, "", " ", "4"])
    assert found.label.tolist() == [-1, -1, -1, 0] and winner(found) == 0
    assert winner(cluster([None, ""])) == -1
    assert agreement(["", None, "4", " 4 "], "4").tolist() == [0, 0, 1, 1]
    assert agreement(["", "4"], "").tolist() == [0, 0]


def test_ties():
    found = cluster(["b", "a", "a", "b"])
    assert found.representatives[winner(found)] == "b"
    assert winner(found, tie="none") == -1
    assert winner(found, min_votes=3) == -1
    drawn = {winner(found, tie="random", rng=np.random.default_rng(seed)) for seed in range(20)}
    assert drawn == {0, 1}
    with pytest.raises(RecipeError, match="rng"):
        winner(found, tie="random")


def test_weighted_votes_and_maths_equality():
    weighted = cluster(["A", "B", "B"])
    assert winner(weighted, weights=np.array([0.9, 0.5, 0.5])) == 1
    assert cluster(["1/2", "0.5", "7"], "maths").label.tolist() == [0, 0, 1]
    assert cluster(["1/2", "0.5", "7"]).label.tolist() == [0, 1, 2]


def test_an_assigned_answer_stays_where_equality_is_not_transitive():
    near = lambda a, b: abs(int(a) - int(b)) <= 1  # noqa: E731
    assert cluster(["1", "2", "3"], near).label.tolist() == [0, 0, 1]


@given(st.lists(st.sampled_from(["1", "2", "3", "", None]), min_size=1, max_size=12))
def test_cluster_identities(answers):
    found = cluster(answers)
    p = cluster_probability(found)
    blanks = sum(1 for a in answers if not a)
    assert found.counts.sum() + blanks == len(answers)
    assert p.mean() == pytest.approx(((found.counts / len(answers)) ** 2).sum())
    assert -1e-12 <= semantic_entropy(found) <= math.log(len(answers)) + 1e-9


def test_partners_need_pairs():
    assert partners(np.array([0, 0, 1, 1]), ["q", "q", "q", "q"]) == {0: 1, 1: 0}
    with pytest.raises(DataError, match="'r' has 1 groups"):
        partners(np.array([0, 1, 2]), ["q", "q", "r"])


def test_window_and_average_survive_json():
    window = Window(2)
    assert [window.min_max(x) for x in (0.1, 0.5)] == [0.0, 1.0]
    assert np.isnan(window.min_max(float("nan")))
    other = Window(2)
    other.load_state_dict(json.loads(json.dumps(window.state_dict())))
    assert other.min_max(0.6) == window.min_max(0.6) == 1.0
    assert other.percentile(50) == pytest.approx(0.55)
    average = Average(0.99, warm=3)
    assert [average.add(x) for x in (0.1, 0.2)] == pytest.approx([np.nan, np.nan], nan_ok=True)
    assert average.add(0.3) == pytest.approx(0.2)
    restored = Average(0.99, warm=3)
    restored.load_state_dict(json.loads(json.dumps(average.state_dict())))
    assert restored.add(0.05) == pytest.approx(0.1985)
    assert Average(0.999).add(1.0) == 1.0


def test_memory_reads_near_and_forgets_the_oldest():
    memory = EpisodicMemory(queries=2, responses=2)
    memory.write([1.0, 0.0], [1.0, 0.0])
    memory.write([1.0, 0.0], [0.0, 1.0])
    stored = memory.read(np.array([0.9, 0.1]))
    a = np.array([0.6, 0.8])
    assert distance_to_centroid(a, stored) == pytest.approx(0.3162, abs=1e-4)
    assert novelty(a, stored) == pytest.approx(0.2)
    memory.write([1.0, 0.0], [2.0, 2.0])
    assert memory.read(np.array([1.0, 0.0])).tolist() == [[0.0, 1.0], [2.0, 2.0]]
    memory.write([0.0, 1.0], [5.0, 5.0])
    memory.write([-1.0, 0.0], [6.0, 6.0])
    assert len(memory) == 2 and memory.read(np.array([1.0, 0.0])).tolist() == [[5.0, 5.0]]
    other = EpisodicMemory(2, 2)
    other.load_state_dict(json.loads(json.dumps(memory.state_dict())))
    assert other.read(np.array([0.0, 1.0]), k=2).tolist() == memory.read(np.array([0.0, 1.0]), k=2).tolist()
    with pytest.raises(DataError, match="keep one embedder"):
        memory.write([1.0], [1.0, 1.0])
    assert np.isnan(novelty(a, EpisodicMemory().read(a)))


def test_memory_knows_a_query_again_whose_embedding_was_rounded_otherwise():
    memory, rng = EpisodicMemory(queries=3, responses=5), np.random.default_rng(0)
    keys = rng.normal(size=(4, 6))
    for step in range(3):
        for key in keys[:3]:
            memory.write(key + rng.uniform(-2e-7, 2e-7, 6), np.full(2, float(step)))
    assert len(memory) == 3
    assert memory.read(keys[1]).tolist() == [[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]
    memory.write(keys[3], np.full(2, 9.0))
    assert len(memory) == 3 and memory.read(keys[3]).tolist() == [[9.0, 9.0]]
    again = EpisodicMemory(queries=3, responses=5)
    again.load_state_dict(memory.state_dict())
    for key in keys:
        assert again.read(key, k=2).tolist() == memory.read(key, k=2).tolist()
    narrow = EpisodicMemory(queries=1)
    narrow.load_state_dict(memory.state_dict())
    narrow.write(keys[3], np.zeros(2))
    assert len(narrow) == 1 and narrow.read(keys[0]).tolist() == [[9.0, 9.0], [0.0, 0.0]]


def test_information_gain_telescopes():
    prior = Belief({"a": {"x": 0.5, "y": 0.25, "z": 0.25}, "b": dict.fromkeys("1234", 0.25)})
    assert prior.entropy() == pytest.approx(3.5)
    gains = information_gains(prior, [{"b": "2"}, {"a": ["z"]}])
    assert gains == pytest.approx([2.0, 0.5817], abs=1e-4)
    left = prior.given("b", "2").without("a", ["z"])
    assert left.entropy() == pytest.approx(0.9183, abs=1e-4)
    assert gains.sum() == pytest.approx(prior.entropy() - left.entropy())
    peaked = Belief({"k": {"a": 0.85, "b": 0.05, "c": 0.05, "d": 0.05}})
    assert information_gains(peaked, [{"k": ["a"]}])[0] == pytest.approx(-0.7374, abs=1e-4)
    with pytest.raises(DataError, match="rules every value out"):
        prior.without("a", ["x", "y", "z"])
    with pytest.raises(DataError, match="no attribute 'c'"):
        prior.without("c", ["x"])


def test_collapse_is_seen():
    rollouts = Rollouts(prompt=["q"] * 4, completion=["4", "4", "5", ""], group=np.zeros(4, np.int64))
    seen = collapse_metrics(np.array([1, 1, 0, 0]), np.array([1, 1, 0, 1]), ["4", "4", "5", ""], rollouts)
    assert seen["collapse/agreement"] == 0.75 and seen["collapse/diversity"] == 0.5
    assert seen["collapse/blank"] == 0.25
    watch = CollapseWatch(window=2)
    said = [
        watch.add({"collapse/reward": reward, "collapse/truth": truth})
        for reward, truth in [(0.4, 0.6), (0.4, 0.6), (0.6, 0.4), (0.9, 0.2)]
    ]
    assert said[:3] == [None, None, None] and "rises while truth falls" in said[3]
    steady = CollapseWatch(window=2)
    assert all(steady.add({"collapse/reward": r, "collapse/truth": r}) is None for r in (0.1, 0.2, 0.6, 0.9))


@pytest.mark.parametrize("seed", range(10))
def test_the_watch_tells_a_fall_from_batches_that_differ(seed):
    rng, steps = np.random.default_rng(seed), np.linspace(0.0, 1.0, 80)
    noise = rng.normal(0, 0.05, (80, 2))
    steady, falling = CollapseWatch(), CollapseWatch()
    said = []
    for x, (a, b) in zip(steps, noise, strict=True):
        reward = 0.5 + 0.4 * x + a
        said.append(steady.add({"collapse/reward": reward, "collapse/truth": 0.7 + 0.1 * x + b}))
        last = falling.add({"collapse/reward": reward, "collapse/truth": 0.7 - 0.4 * x + b})
    assert not any(said) and last is not None


def test_runs_with_a_self_reward_are_watched():
    from guerdon.data.signal import Signal
    from guerdon.intrinsic.collapse import watch
    from guerdon.registry import build

    class Task:
        def outcome(self, rollouts, ctx=None):
            return Signal(np.array([0.0, 0.0, 1.0]), "rollout", "outcome")

    reward = build("reward", {"use": "mm-upt"})
    rollouts = Rollouts(
        completion=["\\boxed{4}", "\\boxed{4}", "\\boxed{5}"], prompt=["q"] * 3, group=np.zeros(3, np.int64)
    )
    scored = rollouts.with_signal(reward(rollouts).renamed("outcome"))
    seen = watch(scored, {"outcome": reward}, Task())
    assert seen["collapse/agreement"] == 0.0 and seen["collapse/truth"] == pytest.approx(1 / 3)
    assert watch(scored, {"outcome": Task().outcome}, Task()) == {}
