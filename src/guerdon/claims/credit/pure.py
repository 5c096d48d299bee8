"""PURE: the smallest of the process rewards against their sum, where filler steps fool the reward model."""

from __future__ import annotations

import numpy as np

from guerdon.claims import kit
from guerdon.claims.claim import Claim, Measured
from guerdon.claims.kit_worlds import padded
from guerdon.data.rollouts import Rollouts
from guerdon.learn.tabular import TabularPolicy
from guerdon.systems.credit.pure import pure

GOOD, BAD, FILLER, NOISE = 0.8, -0.6, 0.6, 0.2


def _scored(seed: int) -> kit.Prepare:
    """A noisy process reward model that likes filler steps almost as much as right ones."""

    def prepare(rollouts: Rollouts, policy: TabularPolicy, step: int) -> Rollouts:
        useful = kit.at_steps(policy, rollouts, lambda mdp: mdp.useful)
        clean = np.where(np.isnan(useful), FILLER, np.where(useful > 0, GOOD, BAD))
        noise = NOISE * np.random.default_rng([seed, 3, step]).standard_normal(len(clean))
        return kit.with_signals(rollouts, prm=("step", np.clip(clean + noise, -0.999, 0.999)))

    return prepare


def _curve(arm: str, rate: float, seed: int, steps: int = 40) -> np.ndarray:
    rng = np.random.default_rng(seed)
    problems = [padded(rng) for _ in range(6)]
    start = np.concatenate([2.0 * np.nan_to_num(mdp.useful) for mdp in problems])
    policy = TabularPolicy(problems, start)
    return kit.learn(problems, pure(form=arm), steps, 8, rate, seed, _scored(seed), policy=policy)[0]


_tuned = kit.tuned(_curve, (10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0))


def run(arm: str, seed: int, smoke: bool) -> Measured:
    """Area under the exact success curve of one arm."""
    return kit.measured(_curve(arm, 40.0, seed, 3) if smoke else _tuned(arm, seed))


CLAIM = Claim(
    slug="pure",
    claim="Crediting a step with the smallest of the process rewards to come, not their sum, keeps training "
    "from being hacked: the sum form collapses early (Cheng et al., arXiv 2504.15275).",
    metric="mean exact success over 40 updates, %",
    baseline="sum",
    system="softmin",
    run=run,
    margin=5.0,
    seeds=10,
    notes="Six derivations per seed of 4 steps with 3 options, a filler action that changes nothing, and an "
    "action that hands in; at most 20 actions, groups of 8. A process reward model scores right steps "
    "0.8, wrong ones -0.6 and fillers 0.6, with noise 0.2; both arms also get the outcome with weight 1"
    " and the token baseline. Each arm takes the best of seven step sizes on three other seeds; with "
    "five coarser ones the difference was 8.3 (interval 0.9 to 15.8). The sum form does not collapse "
    "here: the token baseline takes what a filler earns on average off every token. Beside the "
    "experiment, step size 160, means of three seeds at the end: with the published baselines of the "
    "reference trainer's other branch (variant verl) the sum form falls to 38 % success with 14.1 "
    "actions an episode, soft minimum 99 % with 5.1; with no baseline 17 % with 17.5 against 99 % with "
    "5.0.",
)
