"""What experiments share: worlds with known answers, critics that find exact values, the rewarded tree."""

from __future__ import annotations

import numpy as np
import pytest

from guerdon import credit
from guerdon.claims import kit, kit_worlds
from guerdon.claims.kit_critics import Returns, TwinCritics, contributions
from guerdon.claims.kit_trees import rewarded_tree
from guerdon.learn.tabular import TabularPolicy


def uniform(mdp):
    return np.full(mdp.next.shape, 1 / mdp.n_actions)


def test_a_history_changes_no_chance():
    room = kit_worlds.key_rooms(3, count=1)[0]
    longer = kit_worlds.with_history(room)
    assert longer.n_states == room.n_states * 5 and set(longer.keys) == set(room.keys)
    assert longer.success_rate(uniform(longer)) == pytest.approx(room.success_rate(uniform(room)))
    rollouts = TabularPolicy([longer]).sample(4, seed=1)
    states, actions = TabularPolicy([longer]).visited(rollouts)
    first = rollouts.offsets("step")[:-1]
    later = np.setdiff1d(np.arange(len(states)), first)
    assert (states[later] % 5 == actions[later - 1] + 1).all() and (states[first] % 5 == 0).all()


def test_a_derivation_of_two_steps():
    mdp = kit_worlds.chain(np.random.default_rng(0), length=2, options=3, horizon=2)
    assert mdp.success_rate(uniform(mdp)) == pytest.approx(1 / 16)
    assert mdp.useful[mdp.start].sum() == 1 and mdp.useful[mdp.start, -1] == 0
    broken = mdp.next[mdp.start][(mdp.useful[mdp.start] == 0) & (np.arange(4) < 3)]
    assert (mdp.next[broken, -1] == mdp.start).all() and (mdp.useful[broken, -1] == 1).all()


def test_answering_at_once_is_right_with_the_first_readiness():
    mdp = kit_worlds.thinking(np.random.default_rng(0))
    now = np.zeros(mdp.next.shape)
    now[:, 0] = 1
    assert mdp.success_rate(now) == pytest.approx(0.1)
    best = np.where(mdp.useful == 1, 1.0, 0.0)
    best[-1, 0] = 1
    assert mdp.success_rate(best) == pytest.approx(0.9)


def test_keys_cannot_be_told_apart_but_by_asking():
    keys = kit_worlds.guessing(bits=2, idle=1)
    assert len({mdp.start for mdp in keys}) == 1
    assert [mdp.success_rate(uniform(mdp), horizon=1) for mdp in keys] == pytest.approx([1 / 7] * 4)
    logits = kit_worlds.reader(keys, bits=2, idle=1, trust=3.0, eager=-2.0)
    known = keys[0].next[keys[0].start, 0]  # the first bit is 0
    assert logits[known].tolist() == [0, 0, 0, -2, -2, -5, -5]


def test_padding_neither_helps_nor_harms():
    mdp = kit_worlds.padded(np.random.default_rng(0), length=1, options=2, horizon=3)
    good = int(np.flatnonzero(mdp.useful[mdp.start] == 1)[0])
    policy = np.zeros(mdp.next.shape)
    policy[mdp.start, [good, 2]] = 0.5
    policy[1, 3] = 1.0
    assert mdp.success_rate(policy) == pytest.approx(0.75)
    assert np.isnan(mdp.useful[:, 2]).all() and (mdp.next[:, 2] == np.arange(mdp.n_states)).all()


def test_tied_worlds_keep_one_policy():
    keys = kit_worlds.guessing(bits=2, idle=1)
    _, policy = kit.learn(keys, credit.grpo(), 3, 4, 10.0, 0, tied=True)
    tables = policy.theta.reshape(4, -1, policy.theta.shape[1])
    assert (tables == tables[:1]).all() and tables.any()


def test_a_cap_bounds_every_move():
    _, policy = kit.learn(kit_worlds.key_rooms(3), credit.grpo(), 4, 8, 1e6, 0, cap=0.25)
    assert np.abs(policy.theta).max() <= 1.0 and np.abs(policy.theta).max() > 0.25


def test_adam_steps_have_the_size_of_the_sign():
    adam = kit.Adam()
    assert adam(np.array([4.0, -0.01])) == pytest.approx([1.0, -1.0])
    assert adam(np.array([4.0, -0.01])) == pytest.approx([1.0, -1.0])


def test_critics_find_exact_values():
    mdp = kit_worlds.chain(np.random.default_rng(1), length=2, options=2, horizon=200)
    policy = TabularPolicy([mdp])
    critics = TwinCritics(policy, 0.9, seed=0)
    for step in range(20):
        critics.learn(policy.sample(64, seed=step), policy)
    value, q = mdp.evaluate(policy.probabilities(0), 0.9)
    assert critics.q == pytest.approx(np.stack([q, q]), abs=1e-4)
    assert critics.v == pytest.approx(np.stack([value, value]), abs=1e-4)
    states, actions = critics.replay(policy, np.random.default_rng(0), 50)
    rows = critics.judged(states, actions)
    assert rows.signals["q2"].values == pytest.approx(q[states, actions], abs=1e-4)


def test_values_are_running_means_of_what_followed():
    mdp = kit_worlds.chain(np.random.default_rng(1), length=1, options=2, horizon=1)
    policy, critic = TabularPolicy([mdp]), Returns(rate=0.5)
    rollouts = policy.sample(30, seed=0)
    reward = rollouts.signals["env"].values
    assert critic(rollouts, policy, reward).values.values.max() == 0
    assert critic.value[mdp.start] == pytest.approx(0.5 * reward.mean())


def test_contributions_add_up_to_the_outcome():
    policy = TabularPolicy([kit_worlds.chain(np.random.default_rng(s), 2, 2, 4) for s in (0, 1)])
    rollouts = policy.sample(200, seed=0)
    shares = contributions(policy, rollouts, ridge=1e-6)[policy.visited(rollouts)]
    total = np.add.reduceat(shares, rollouts.offsets("step")[:-1])
    outcome = rollouts.signals["outcome"].values
    assert np.corrcoef(total, outcome)[0, 1] > 0.7
    assert np.mean((total - outcome) ** 2) < np.var(outcome)


def test_the_tree_shares_what_it_copied():
    policy = TabularPolicy(kit_worlds.tool_questions(3, count=2))
    tree = rewarded_tree(policy, 8, np.random.default_rng(0))
    assert tree.group.tolist() == [0] * 8 + [1] * 8 and tree.node is not None
    states, actions = policy.visited(tree)
    offsets = tree.offsets("step")
    seen: dict = {}
    for row in range(16):
        path = tuple(tree.node[offsets[row] : offsets[row + 1]].tolist())
        for depth, node in enumerate(path):
            at = offsets[row] + depth
            found = (path[:depth], int(states[at]), int(actions[at]))
            assert seen.setdefault(node, found) == found
    first = [tree.node[at] for at in offsets[:-1]]
    assert len(seen) < len(actions) and 2 <= len(set(first)) < 16
