"""The tree of PORTool: rollouts that are unfinished fork at every depth, and as many as before are kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from guerdon.data.ragged import Ragged
from guerdon.data.rollouts import Rollouts
from guerdon.learn.tabular import TabularPolicy
from guerdon.learn.tabular_rollouts import Walks, rollouts_of
from guerdon.tasks.mdp import MDP


@dataclass
class _Grown:
    """Padded tables (leaves, T) of one process, with lengths, what was cut off and the last states."""

    states: np.ndarray
    actions: np.ndarray
    nodes: np.ndarray
    lengths: np.ndarray
    cut: np.ndarray
    now: np.ndarray


def rewarded_tree(policy: TabularPolicy, leaves: int, rng: np.random.Generator, forks: int = 2) -> Rollouts:
    """`leaves` rollouts of every process that share prefixes, with the column `node`.

    At every depth each of the n unfinished rollouts offers `forks` continuations, of which n are kept at
    random; so calls are sampled as often as for independent rollouts.
    """
    grown = [_grow(mdp, policy.probabilities(i), leaves, rng, forks) for i, mdp in enumerate(policy.mdps)]
    width, taken = max(g.states.shape[1] for g in grown), 0
    wide = lambda table: np.pad(table, ((0, 0), (0, width - table.shape[1])))  # noqa: E731
    for g in grown:
        g.nodes += taken
        taken = int(g.nodes.max()) + 1
    lengths = np.concatenate([g.lengths for g in grown])
    first = policy.first[:-1]
    walks = Walks(
        np.repeat(np.arange(len(grown)), leaves),
        np.concatenate([wide(g.states + at) for g, at in zip(grown, first, strict=True)]),
        np.concatenate([wide(g.actions) for g in grown]),
        lengths,
        np.concatenate([g.cut for g in grown]),
        np.concatenate([g.now + at for g, at in zip(grown, first, strict=True)]),
    )
    nodes = Ragged.from_padded(np.concatenate([wide(g.nodes) for g in grown]), lengths)
    return rollouts_of(policy, walks).replace(node=nodes.values)


def _grow(mdp: MDP, table: np.ndarray, leaves: int, rng: np.random.Generator, forks: int) -> _Grown:
    shape = leaves, mdp.horizon
    g = _Grown(
        np.zeros(shape, np.int64),
        np.zeros(shape, np.int64),
        np.zeros(shape, np.int64),
        np.zeros(leaves, np.int64),
        np.zeros(leaves, bool),
        np.full(leaves, mdp.start),
    )
    cumulative, live, taken = table.cumsum(axis=1), np.arange(leaves), 0
    for t in range(mdp.horizon):
        if t:
            parent = rng.permutation(np.repeat(live, forks))[: len(live)]
            for column in (g.states, g.actions, g.nodes, g.now):
                column[live] = column[parent]
        at = g.now[live]
        drawn = rng.random((len(live), 1)) * cumulative[at, -1:]
        action = (cumulative[at] <= drawn).sum(axis=1).clip(max=table.shape[1] - 1)
        g.states[live, t], g.actions[live, t] = at, action
        g.nodes[live, t] = taken + np.arange(len(live))
        taken += len(live)
        g.now[live], g.lengths[live] = mdp.next[at, action], t + 1
        ended = mdp.done[at, action]
        g.cut[live] = ~ended & (t + 1 == mdp.horizon)
        live = live[~ended]
        if not len(live):
            break
    return g
