"""Tabular policies: sampling, exact success rates, gradients, trees."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from guerdon import credit
from guerdon.data import Signal
from guerdon.data.keys import fork_of
from guerdon.errors import DataError, RecipeError
from guerdon.learn.branching import sampled_tokens
from guerdon.learn.tabular import TabularPolicy
from guerdon.learn.tabular_values import prefix_success, true_advantage
from guerdon.registry import build
from guerdon.tasks.grid_world import GridWorld
from guerdon.tasks.mdp import MDP, tabulate

WORLD = GridWorld(size=4)
PROBLEMS = WORLD.problems("train", 4)
MDPS = [tabulate(WORLD, problem) for problem in PROBLEMS]


def policy(seed=0, **kwargs):
    fresh = TabularPolicy(MDPS, **kwargs)
    fresh.theta += np.random.default_rng(seed).normal(size=fresh.theta.shape) * 0.5
    return fresh


def test_samples_are_what_the_world_does():
    rollouts = policy().sample(3, seed=5)
    assert rollouts.group.tolist() == np.repeat(np.arange(4), 3).tolist()
    ends = rollouts.offsets("step")
    for row in range(len(rollouts)):
        meta = rollouts.meta[row]
        text = WORLD.transcript(PROBLEMS[rollouts.group[row]].meta, meta["actions"])
        replay = WORLD.replay(text, meta)
        here = slice(ends[row], ends[row + 1])
        states = [WORLD.start(meta), *(r.state for r in replay.replies)]
        assert rollouts.state[here].tolist() == [WORLD.state_key(s) for s in states[:-1]]
        assert meta["final_state"] == WORLD.state_key(states[-1])
        assert rollouts.signals["env"].values[here].tolist() == [r.reward for r in replay.replies]
        assert rollouts.signals["outcome"].values[row] == replay.success == meta["success"]
        assert rollouts.truncated[row] == (not replay.success)


def test_a_sample_depends_on_problem_draw_and_seed_only():
    p = policy()
    whole = p.sample(6, seed=9)
    part = p.sample(3, seed=9, problems=[2, 0], first_draw=2)
    rows = [*range(14, 17), *range(2, 5)]
    assert part == whole.select(rows)
    assert p.sample(6, seed=10) != whole


def test_sampled_success_agrees_with_the_exact_rate():
    p = policy()
    sampled = p.sample(4000, seed=1).signals["outcome"].values.reshape(4, -1)
    exact = p.success_rate()
    error = np.sqrt(exact * (1 - exact) / 4000)
    assert (np.abs(sampled.mean(axis=1) - exact) < 5 * error).all()


def test_logprobs_are_recorded_and_recomputed():
    p = policy(temperature=0.7)
    rollouts = p.sample(4)
    assert p.logprobs(rollouts) == rollouts.logprobs
    log_p = p.log_probabilities()
    np.testing.assert_allclose(np.exp(log_p).sum(axis=1), 1)
    assert rollouts.entropy.values.max() <= np.log(4) + 1e-6


def test_the_gradient_is_that_of_the_surrogate():
    p = policy(temperature=1.3)
    rollouts = p.sample(3)
    advantage = np.random.default_rng(0).normal(size=rollouts.tokens.total)
    gradient = p.gradient(rollouts, advantage)

    def surrogate(theta):
        q = p.copy()
        q.theta = theta
        states, actions = q.visited(rollouts)
        return (advantage * q.log_probabilities()[states, actions]).mean()

    for at in [(0, 0), (1, 2), (5, 3)]:
        up, down = p.theta.copy(), p.theta.copy()
        up[at] += 1e-5
        down[at] -= 1e-5
        assert gradient[at] == pytest.approx((surrogate(up) - surrogate(down)) / 2e-5, abs=1e-8)


def test_the_exact_advantage_is_centred_under_the_policy():
    p = policy()
    rollouts = p.sample(2000, seed=3)
    truth = true_advantage(p, rollouts, 0.9)
    assert abs(truth.values.mean()) < 5 * truth.values.std() / np.sqrt(len(truth))
    assert truth.level == "token" and truth.values.std() > 0.01


def test_prefix_success_is_what_playing_on_gives():
    p = policy()
    rollouts = p.sample(3000, seed=2)
    root, after = prefix_success(p, rollouts)
    outcome = rollouts.signals["outcome"].values
    np.testing.assert_allclose(root.values[::3000], p.success_rate())
    last = rollouts.offsets("step")[1:] - 1
    assert (after.values[last] == outcome).all()
    for k in range(4):  # a martingale: the mean does not change along the episodes
        at = np.minimum(rollouts.offsets("step")[:-1] + k, last)
        per_problem = after.values[at].reshape(4, -1).mean(axis=1)
        assert np.abs(per_problem - p.success_rate()).max() < 0.05
    sure = TabularPolicy(MDPS, logits=best_actions() * 50)
    assert prefix_success(sure, rollouts)[0].values.min() > 0.999


def best_actions():
    """1 on the optimal action of every state."""
    return np.concatenate([np.eye(4)[mdp.optimal(0.9)[1].argmax(axis=1)] for mdp in MDPS])


def test_learning_from_outcomes_works():
    p, method = TabularPolicy(MDPS), credit.grpo()
    before = p.success_rate().mean()
    for step in range(60):
        rollouts = p.sample(16, seed=step)
        p.update(rollouts, method(rollouts), lr=20.0)
    assert p.success_rate().mean() > before + 0.3


def test_averaging_over_equal_transitions_cannot_move_a_policy_of_states():
    """SALT keeps the sum of the advantages of every (state, action), which is all the gradient sees."""
    p = policy()
    rollouts = p.sample(16, seed=3)
    base, merged = credit.grpo()(rollouts), build("credit", {"use": "salt"})(rollouts)
    assert np.abs(base.values - merged.values).max() > 0.1
    np.testing.assert_allclose(p.gradient(rollouts, base), p.gradient(rollouts, merged), atol=1e-6)


def test_processes_of_different_width_share_one_policy():
    three = MDP(next=[[1, 1, 1], [1, 1, 1]], reward=np.zeros((2, 3)), done=np.ones((2, 3), bool))
    two = MDP(next=[[0, 0]], reward=[[1.0, 0.0]], done=[[1, 1]], horizon=1)
    p = TabularPolicy([three, two])
    rollouts = p.sample(500)
    assert rollouts.tokens.values[500:].max() == 1 and rollouts.tokens.values[:500].max() == 2
    np.testing.assert_allclose(p.success_rate(), [0, 0.5])
    p.update(rollouts, np.ones(1000), lr=1.0)
    assert np.isneginf(p.theta[2, 2]) and np.isfinite(p.theta[:2]).all()


@pytest.mark.parametrize("at", ["random", "entropy", (1, 99)])
def test_trees_share_what_was_sampled_once(at):
    p = policy()
    tree = p.sample_tree(10, seed=4, at=at, points=2, width=2)
    offsets, node = tree.offsets("step"), tree.node
    steps = [node[a:b] for a, b in pairwise(offsets)]
    assert len(tree) == 40 and tree.group.tolist() == np.repeat(range(4), 10).tolist()
    shared = 0
    for row in range(40):
        trunk = row - row % 5
        if row == trunk:
            continue
        common = np.flatnonzero(steps[row][: len(steps[trunk])] == steps[trunk][: len(steps[row])])
        assert common.tolist() == list(range(len(common)))
        n = len(common)
        assert tree.tokens[row][:n].tolist() == tree.tokens[trunk][:n].tolist()
        shared += n
    assert sampled_tokens(tree) == tree.tokens.total - shared < tree.tokens.total
    assert fork_of(tree).max() >= 3 and tree == p.sample_tree(10, seed=4, at=at, points=2, width=2)
    flat = p.sample(2, seed=4)
    assert tree.select([0, 5]).tokens == flat.select([0, 1]).tokens  # trunks are the flat samples


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p, r: p.update(r, np.zeros(3), 1.0), "one per token"),
        (lambda p, r: p.update(r, Signal(np.full(r.tokens.total, np.nan), "token"), 1.0), "not finite"),
        (lambda p, r: p.logprobs(r.replace(group=r.group + 7)), "groups"),
        (
            lambda p, r: p.logprobs(r.replace(tokens=r.tokens.with_values(r.tokens.values + 9))),
            "actions 0..3",
        ),
        (lambda p, r: p.update(r, np.zeros(r.tokens.total), 1.0, per="step"), "per"),
        (lambda p, r: TabularPolicy([]), "at least one"),
        (lambda p, r: TabularPolicy(MDPS, logits=np.zeros((2, 2))), "shape"),
    ],
)
def test_bad_input_is_named(call, message):
    p = policy()
    with pytest.raises(DataError, match=message):
        call(p, p.sample(2))


def test_leaves_must_fit_the_tree():
    with pytest.raises(RecipeError, match="divide"):
        policy().sample_tree(7, points=1, width=1)
