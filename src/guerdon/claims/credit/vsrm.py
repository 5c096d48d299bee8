"""VSRM: thinking steps rewarded by what they change, against the outcome alone, on thinking that idles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from guerdon import credit
from guerdon.claims import kit
from guerdon.claims.claim import Claim, Measured
from guerdon.claims.kit_worlds import forced_answers, thinker, thinking
from guerdon.data.rollouts import Rollouts
from guerdon.learn.tabular import TabularPolicy
from guerdon.systems.credit.vsrm import vsrm


def _cut(seed: int) -> kit.Prepare:
    """Outcomes, and five forced answers at every cut; none after the answer itself."""

    def prepare(rollouts: Rollouts, policy: TabularPolicy, step: int) -> Rollouts:
        outcome, _, after = forced_answers(policy, rollouts, np.random.default_rng([seed, 3, step]), 5)
        after[rollouts.offsets("step")[1:] - 1] = np.nan
        return kit.with_signals(rollouts, outcome=("rollout", outcome), forced_acc=("step", after))

    return prepare


def efficiency(policy: TabularPolicy) -> float:
    """Exact right answers per ten steps of thinking and answering."""
    right = policy.success_rate().mean()
    steps = []
    for at, mdp in enumerate(policy.mdps):
        counted = replace(mdp, reward=np.ones_like(mdp.reward))
        steps.append(counted.evaluate_within(policy.probabilities(at))[0][0, mdp.start])
    return float(10 * right / np.mean(steps))


def _trained(arm: str, rate: float, seed: int, steps: int = 40) -> tuple[np.ndarray, TabularPolicy]:
    rng = np.random.default_rng(seed)
    problems = [thinking(rng) for _ in range(6)]
    method = vsrm(returns="sum", whiten=True) if arm == "vsrm" else credit.reinforce_pp_baseline()
    return kit.learn(
        problems, method, steps, 8, rate, seed, _cut(seed), policy=thinker(problems), measure=efficiency
    )


RATES = (10.0, 20.0, 40.0, 80.0, 160.0, 320.0)
_tuned = kit.tuned(lambda arm, rate, seed: _trained(arm, rate, seed)[0], RATES)


def run(arm: str, seed: int, smoke: bool) -> Measured:
    """Mean efficiency of one arm."""
    curve = _trained(arm, 20.0, seed, 3)[0] if smoke else _tuned(arm, seed)
    return {"value": float(curve.mean()), "curve": [round(float(v), 5) for v in curve]}


CLAIM = Claim(
    slug="vsrm",
    claim="Rewarding a step of thinking by how much it changes the chance of a right forced answer shortens "
    "outputs a lot and keeps accuracy (arXiv 2508.10293).",
    metric="exact right answers per ten steps, mean over 40 updates",
    baseline="outcome",
    system="vsrm",
    run=run,
    margin=0.05,
    seeds=10,
    notes="Six problems per seed: one of six thoughts helps at each of four levels, the others idle; an "
    "answer is right with a chance of 0.1 to 0.9 by level; at most 16 steps. The policy starts out "
    "thinking long and half idly. Five forced answers per cut; groups of 8, whitened in both arms; VSRM"
    " takes sums of what follows. Each arm takes the best of six step sizes, by this metric, on three "
    "other seeds.",
)
