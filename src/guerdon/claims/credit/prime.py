"""PRIME: an online implicit process reward model next to the verifier, against the verifier alone."""

from __future__ import annotations

import numpy as np

from guerdon.claims import kit
from guerdon.claims.claim import Claim, Measured
from guerdon.claims.kit_worlds import chain
from guerdon.credit import Credit, LeaveOneOut, Level, Whiten
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.learn.tabular import TabularPolicy
from guerdon.systems.credit.prime import outcome_probability, prime

BETA, MODEL_RATE = 0.05, 200.0


class ImplicitModel:
    """A softmax table trained on outcomes online; its log-ratio to the first policy is the process reward."""

    def __init__(self, start: TabularPolicy) -> None:
        self.reference, self.model = start.copy(), start.copy()

    def __call__(self, rollouts: Rollouts, policy: TabularPolicy, step: int) -> Rollouts:
        q = self.model.logprobs(rollouts).values - self.reference.logprobs(rollouts).values
        scored = kit.with_signals(rollouts, implicit=("token", q))
        self._learn(scored)
        return scored

    def _learn(self, rollouts: Rollouts) -> None:
        """One step on the cross-entropy of sigmoid(beta sum q), after the rollouts were scored."""
        probability = outcome_probability(rollouts, rollouts.signals["implicit"], BETA).values
        gap = rollouts.signals["outcome"].values - probability
        push = rollouts.spread(Signal(BETA * gap, "rollout", "gap"), "token")
        self.model.theta += MODEL_RATE * self.model.gradient(rollouts, push, per="rollout")


def _curve(arm: str, rate: float, seed: int, steps: int = 40) -> np.ndarray:
    rng = np.random.default_rng(seed)
    chains = [chain(rng, 6, 3, 18) for _ in range(6)]
    if arm == "prime":
        return kit.learn(
            chains, prime(beta=BETA), steps, 4, rate, seed, ImplicitModel(TabularPolicy(chains))
        )[0]
    level = Level("outcome", span="rollout", baseline=LeaveOneOut())
    return kit.learn(chains, Credit([level], whiten=Whiten(), name="rloo"), steps, 4, rate, seed)[0]


_tuned = kit.tuned(_curve, (10.0, 20.0, 40.0, 80.0, 160.0, 320.0))


def run(arm: str, seed: int, smoke: bool) -> Measured:
    """Area under the exact success curve of one arm."""
    return kit.measured(_curve(arm, 20.0, seed, 3) if smoke else _tuned(arm, seed))


CLAIM = Claim(
    slug="prime",
    claim="Dense rewards from an implicit process reward model, trained online on outcomes alone, learn "
    "faster than the outcome alone (Cui et al., arXiv 2502.01456: 2.5 times the sample efficiency of "
    "RLOO).",
    metric="mean exact success over 40 updates, %",
    baseline="rloo",
    system="prime",
    run=run,
    margin=3.0,
    seeds=10,
    notes="Six derivations per seed of 6 steps with 3 options and an action that takes mistakes back, at most"
    " 18 actions, groups of 4. The implicit model is a softmax table as large as the policy, scored "
    "before its update, reference: the first policy, beta 0.05, step size 200 fixed beforehand. Both "
    "arms leave one out and whiten. Each arm takes the best of six step sizes on three other seeds.",
)
