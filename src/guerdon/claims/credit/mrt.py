"""MRT: progress of every block of thought against the outcome alone; accuracy at every budget."""

from __future__ import annotations

import numpy as np

from guerdon import credit
from guerdon.claims import kit
from guerdon.claims.claim import Claim, Measured
from guerdon.claims.kit_worlds import forced_answers, readiness, thinker, thinking
from guerdon.data.rollouts import Rollouts
from guerdon.learn.tabular import TabularPolicy
from guerdon.systems.credit.mrt import mrt


def _measured(seed: int) -> kit.Prepare:
    """Outcomes, and five forced answers after every block and before the first; answering is no progress."""

    def prepare(rollouts: Rollouts, policy: TabularPolicy, step: int) -> Rollouts:
        outcome, before, after = forced_answers(policy, rollouts, np.random.default_rng([seed, 3, step]), 5)
        offsets = rollouts.offsets("step")
        answered = ~rollouts.truncated
        last, single = offsets[1:] - 1, np.diff(offsets) == 1
        after[last[answered]] = np.where(single, before, after[last - 1])[answered]
        return kit.with_signals(
            rollouts,
            outcome=("rollout", outcome),
            termination=("rollout", before),
            j=("step", after),
            j_start=("rollout", before),
        )

    return prepare


def budgeted(policy: TabularPolicy) -> float:
    """Exact accuracy when answering is forced after 1, 2, ... blocks, averaged over these budgets."""
    found = []
    for at, mdp in enumerate(policy.mdps):
        table, ready = policy.probabilities(at), readiness(np.arange(mdp.n_states), mdp.n_states - 1)
        thinks, answered = np.eye(mdp.n_states)[mdp.start], 0.0
        for _ in range(mdp.horizon):
            answered += float((thinks * table[:, 0] * ready).sum())
            moved = thinks[:, None] * table[:, 1:]
            thinks = np.bincount(mdp.next[:, 1:].ravel(), moved.ravel(), mdp.n_states)
            found.append(answered + float((thinks * ready).sum()))
    return float(np.mean(found))


def _curve(arm: str, rate: float, seed: int, steps: int = 40) -> np.ndarray:
    rng = np.random.default_rng(seed)
    problems = [thinking(rng) for _ in range(6)]
    method = mrt() if arm == "mrt" else credit.grpo()
    return kit.learn(
        problems, method, steps, 8, rate, seed, _measured(seed), policy=thinker(problems), measure=budgeted
    )[0]


_tuned = kit.tuned(_curve, (5.0, 10.0, 20.0, 40.0, 80.0, 160.0))


def run(arm: str, seed: int, smoke: bool) -> Measured:
    """Mean accuracy over budgets of one arm."""
    return kit.measured(_curve(arm, 20.0, seed, 3) if smoke else _tuned(arm, seed))


CLAIM = Claim(
    slug="mrt",
    claim="Rewarding blocks of thought by progress gives lower regret over test-time budgets than the outcome"
    " alone (Qu et al., arXiv 2503.07572: two to three times the gain of outcome RL, 1.5 times fewer "
    "tokens).",
    metric="exact accuracy averaged over budgets of 1 to 16 blocks and 40 updates, %",
    baseline="grpo",
    system="mrt",
    run=run,
    margin=1.0,
    seeds=10,
    notes="Six problems per seed: one of six thoughts helps at each of four levels, the others idle; an "
    "answer is right with a chance of 0.1 to 0.9 by level; at most 16 blocks. The policy starts out "
    "thinking long and half idly. Five forced answers per block; groups of 8. Each arm takes the best "
    "of six step sizes, by this metric, on three other seeds.",
)
