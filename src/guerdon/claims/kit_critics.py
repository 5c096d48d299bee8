"""Critics as tables: on-policy values, off-policy twin Q and V, and contributions by regression."""

from __future__ import annotations

import numpy as np

from guerdon.claims.kit import with_signals
from guerdon.credit.backups import RewardToGo
from guerdon.credit.view import View
from guerdon.data.ragged import Ragged
from guerdon.data.rollouts import Rollouts
from guerdon.learn.tabular import TabularPolicy
from guerdon.systems.credit.archer import polyak


class Returns:
    """V(s): running mean of what followed a state, V += rate (mean return - V) after every batch.

    Args:
        gamma: discount.
        rate: of the running mean.
    """

    def __init__(self, gamma: float = 1.0, rate: float = 0.3) -> None:
        self.gamma, self.rate = gamma, rate
        self.value = np.zeros(0)

    def __call__(self, rollouts: Rollouts, policy: TabularPolicy, reward: np.ndarray) -> Rollouts:
        """Rollouts with the column `values` as known before the batch, which is then learned from."""
        assert rollouts.tokens is not None
        if not self.value.size:
            self.value = np.zeros(len(policy.theta))
        states, _ = policy.visited(rollouts)
        valued = rollouts.replace(values=rollouts.tokens.with_values(self.value[states].astype(np.float32)))
        found = RewardToGo(self.gamma)(reward, View(rollouts, rollouts.signals, "token", "critic"))
        count = np.bincount(states, minlength=len(self.value))
        mean = np.bincount(states, found, len(self.value)) / np.maximum(count, 1)
        self.value = np.where(count > 0, self.value + self.rate * (mean - self.value), self.value)
        return valued


class TwinCritics:
    """Two Q and two V tables learned from every transition seen, by temporal differences to Polyak copies.

    y_i = r + gamma (1 - done) V^target_i(s'),  V_i(s) <- sum_a pi(a | s) Q^target_i(s, a)

    A transition that was cut by the step limit counts as done.
    """

    def __init__(
        self,
        policy: TabularPolicy,
        gamma: float,
        seed: int,
        sweeps: int = 50,
        rate: float = 0.5,
        tau: float = 0.1,
    ) -> None:
        self.gamma, self.sweeps, self.rate, self.tau = gamma, sweeps, rate, tau
        shape = policy.theta.shape
        rng = np.random.default_rng([seed, 5])
        self.q = 0.01 * rng.standard_normal((2, *shape))
        self.v = 0.01 * rng.standard_normal((2, shape[0]))
        self.q_target, self.v_target = self.q.copy(), self.v.copy()
        self.seen, self.ended = np.zeros(shape), np.zeros(shape)
        self.next = np.concatenate([m.next + at for m, at in zip(policy.mdps, policy.first, strict=False)])
        self.reward = np.concatenate([m.reward for m in policy.mdps])

    def learn(self, rollouts: Rollouts, policy: TabularPolicy) -> None:
        """Learn from the batch and all before it."""
        states, actions = policy.visited(rollouts)
        np.add.at(self.seen, (states, actions), 1.0)
        last = rollouts.offsets("step")[1:] - 1
        np.add.at(self.ended, (states[last], actions[last]), 1.0)
        self._sweep(policy.probabilities())

    def replay(
        self, policy: TabularPolicy, rng: np.random.Generator, size: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """States seen so far, as often as they were seen, and a fresh action of the policy for each."""
        often = self.seen.sum(axis=1)
        states = rng.choice(len(often), size, p=often / often.sum())
        ahead = policy.probabilities()[states].cumsum(axis=1)
        drawn = rng.random((size, 1)) * ahead[:, -1:]
        return states, (ahead <= drawn).sum(axis=1).clip(max=ahead.shape[1] - 1)

    def judged(self, states: np.ndarray, actions: np.ndarray) -> Rollouts:
        """One rollout of one turn per (state, action), with q1, q2, v1, v2."""
        tokens = Ragged(actions, np.arange(len(actions) + 1))
        ends = tokens.with_values(np.ones(len(actions), np.int64))
        heads = {f"q{i + 1}": self.q[i, states, actions] for i in (0, 1)}
        heads |= {f"v{i + 1}": self.v[i, states] for i in (0, 1)}
        rows = Rollouts(group=np.zeros(len(actions), np.int64), tokens=tokens, partitions={"turn": ends})
        return with_signals(rows, **{name: ("turn", values) for name, values in heads.items()})

    def _sweep(self, policy: np.ndarray) -> None:
        known, visited = self.seen > 0, self.seen.sum(axis=1) > 0
        going = 1.0 - self.ended / np.maximum(self.seen, 1.0)
        for _ in range(self.sweeps):
            for i in (0, 1):
                target = self.reward + self.gamma * going * self.v_target[i][self.next]
                self.q[i] += np.where(known, self.rate * (target - self.q[i]), 0.0)
                mean = (policy * self.q_target[i]).sum(axis=1)
                self.v[i] += np.where(visited, self.rate * (mean - self.v[i]), 0.0)
            self.q_target = polyak(self.q_target, self.q, self.tau)
            self.v_target = polyak(self.v_target, self.v, self.tau)


def contributions(policy: TabularPolicy, rollouts: Rollouts, ridge: float = 1.0) -> np.ndarray:
    """c(s, a) whose sums over episodes regress the outcome: argmin sum_i (sum_t c - R_i)^2 + ridge |c|^2.

    Returns:
        float64 like theta, per process, from its own episodes.
    """
    states, actions = policy.visited(rollouts)
    width = policy.theta.shape[1]
    outcome = rollouts.signals["outcome"].values
    row = np.repeat(np.arange(len(rollouts)), np.diff(rollouts.offsets("step")))
    table = np.zeros(policy.theta.size)
    for at in range(len(policy.mdps)):
        rows, low, high = rollouts.group == at, policy.first[at] * width, policy.first[at + 1] * width
        here = rows[row]
        counts = np.zeros((len(rollouts), high - low))
        np.add.at(counts, (row[here], states[here] * width + actions[here] - low), 1.0)
        x = counts[rows]
        table[low:high] = x.T @ np.linalg.solve(x @ x.T + ridge * np.eye(len(x)), outcome[rows])
    return table.reshape(policy.theta.shape)
