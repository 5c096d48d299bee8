"""CAPO: steps that voted critiques find wrong lose reward, against GRPO on the outcome."""

from __future__ import annotations

import numpy as np

from guerdon import credit
from guerdon.claims import kit
from guerdon.claims.claim import Claim, Measured
from guerdon.claims.kit_worlds import chain
from guerdon.data.rollouts import Rollouts
from guerdon.learn.tabular import TabularPolicy
from guerdon.systems.credit.capo import capo

CRITIQUES, FLIPPED = 4, 0.15


def _criticised(seed: int) -> kit.Prepare:
    """Critiques that know which steps are wrong, each flipped with some chance."""

    def prepare(rollouts: Rollouts, policy: TabularPolicy, step: int) -> Rollouts:
        wrong = kit.at_steps(policy, rollouts, lambda mdp: 1 - mdp.useful)
        flips = np.random.default_rng([seed, 3, step]).random((CRITIQUES, len(wrong))) < FLIPPED
        said = {
            f"critique_{k + 1}": ("step", np.where(flip, 1 - wrong, wrong)) for k, flip in enumerate(flips)
        }
        return kit.with_signals(rollouts, **said)

    return prepare


def _curve(arm: str, rate: float, seed: int, steps: int = 40) -> np.ndarray:
    rng = np.random.default_rng(seed)
    chains = [chain(rng, 6, 3, 18) for _ in range(6)]
    method, prepare = (capo(), _criticised(seed)) if arm == "capo" else (credit.grpo(), None)
    return kit.learn(chains, method, steps, 4, rate, seed, prepare)[0]


_tuned = kit.tuned(_curve, (20.0, 40.0, *kit.RATES))


def run(arm: str, seed: int, smoke: bool) -> Measured:
    """Area under the exact success curve of one arm."""
    return kit.measured(_curve(arm, 320.0, seed, 3) if smoke else _tuned(arm, seed))


CLAIM = Claim(
    slug="capo",
    claim="Taking reward from the steps that a critic finds wrong, by vote over several critiques, learns "
    "reasoning better than one reward per answer (arXiv 2508.02298: 2.3 points on average with "
    "Qwen2.5-7B).",
    metric="mean exact success over 40 updates, %",
    baseline="grpo",
    system="capo",
    run=run,
    margin=2.0,
    seeds=10,
    notes="Six derivations per seed of 6 steps with 3 options and an action that takes mistakes back, at most"
    " 18 actions, groups of 4. Four critiques know the truth, each flipped in 15 % of the steps; "
    "majority vote. Each arm takes the best of seven step sizes on three other seeds.",
)
