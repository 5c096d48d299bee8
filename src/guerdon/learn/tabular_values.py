"""Exact values along sampled episodes of a table: what Monte-Carlo prefix values estimate, without noise.

    q(h_t) = P(success | state after step t, pi plays the H - t actions that are left)

Enters: a TabularPolicy (the one that sampled, or a prover) and rollouts. Leaves: signals.
"""

from __future__ import annotations

import numpy as np

from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.learn.tabular import TabularPolicy


def true_advantage(policy: TabularPolicy, rollouts: Rollouts, gamma: float = 0.95) -> Signal:
    """A^pi(s, a) = Q^pi(s, a) - V^pi(s) of every token's state and action, without a step limit.

    Args:
        rollouts: `group` names the process of each.
        gamma: below 1, unless the policy ends every episode for certain.
    """
    table = np.zeros_like(policy.theta)
    for at, mdp in enumerate(policy.mdps):
        value, q = mdp.evaluate(policy.probabilities(at), gamma)
        table[policy.first[at] : policy.first[at + 1], : mdp.n_actions] = q - value[:, None]
    return Signal(table[policy.visited(rollouts)], "token", "true_advantage")


def prefix_success(policy: TabularPolicy, rollouts: Rollouts) -> tuple[Signal, Signal]:
    """Exact chance of success before the first step and after every step, within the horizon.

    Args:
        policy: who plays on; the sampler itself gives Q^pi, another policy a prover's values.
        rollouts: `group` names the process of each.

    Returns:
        q_root (rollout level) and q_policy (step level; after the last step it is the outcome).
    """
    states, actions = policy.visited(rollouts)
    assert rollouts.tokens is not None
    ids = rollouts.tokens.row_ids()
    step = np.arange(len(ids)) - rollouts.tokens.offsets[:-1][ids]
    root, after = np.empty(len(rollouts)), np.empty(len(ids))
    for problem, mdp in enumerate(policy.mdps):
        rows = rollouts.group == problem
        here = rows[ids]
        left = mdp.success_after(policy.probabilities(problem))  # (H + 1, S)
        s, a = states[here] - policy.first[problem], actions[here]
        remaining = np.maximum(mdp.horizon - 1 - step[here], 0)
        after[here] = np.where(mdp.done[s, a], mdp.success[s, a], left[remaining, mdp.next[s, a]])
        root[rows] = left[mdp.horizon, mdp.start]
    return Signal(root, "rollout", "q_root"), Signal(after, "step", "q_policy")
