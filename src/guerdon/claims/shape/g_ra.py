"""G-RA: stepwise rewards behind a gate, against adding them up, in a small repair task."""

from __future__ import annotations

import numpy as np

from guerdon import credit
from guerdon.claims import kit
from guerdon.claims.claim import Claim, Measured
from guerdon.claims.shape import _bandit as lab
from guerdon.data.rollouts import Rollouts
from guerdon.learn.tabular import TabularPolicy
from guerdon.tasks.mdp import MDP

RATES = (5.0, 10.0, 20.0, 40.0, 80.0)
PROBLEMS, EDITS = 6, 4
INSPECT, SUBMIT, NOOP = EDITS, EDITS + 1, EDITS + 2
UNTOUCHED, BEGUN, FIXED, BROKEN = range(4)


def repair(rng: np.random.Generator, horizon: int = 12) -> MDP:
    """Two right edits in order, then submit; a wrong edit breaks the code, inspecting changes nothing."""
    following = np.repeat(np.arange(4)[:, None], EDITS + 3, axis=1)
    following[:, :EDITS] = BROKEN
    useful = np.zeros(following.shape)
    for state in (UNTOUCHED, BEGUN):
        right = rng.integers(EDITS)
        following[state, right], useful[state, right] = state + 1, 1.0
    done = np.zeros(following.shape, bool)
    done[:, SUBMIT] = True
    reward = np.zeros(following.shape)
    reward[FIXED, SUBMIT] = 1.0
    return MDP(next=following, reward=reward, done=done, useful=useful, horizon=horizon)


def _curve(arm: str, rate: float, seed: int, steps: int = 100) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mdps = [repair(rng) for _ in range(PROBLEMS)]
    start = np.concatenate([mdp.useful for mdp in mdps])

    def prepare(rollouts: Rollouts, policy: TabularPolicy, step: int) -> Rollouts:
        states, actions = policy.visited(rollouts)
        final = rollouts.offsets("token")[1:] - 1
        handed_in = (actions[final] == SUBMIT) & (states[final] % 4 != UNTOUCHED)
        outcome = np.where(handed_in, rollouts.signals["outcome"].values, -1.0)
        steps = np.where(actions == NOOP, -0.1, np.where(actions == SUBMIT, 0.0, 0.1))
        return kit.with_signals(rollouts, outcome=("rollout", outcome), step=("turn", steps))

    delta = -0.5 if arm == "gated" else -1e9
    method = credit.g_ra(delta=delta, baseline="mean_std")
    policy = TabularPolicy(mdps, start)
    return kit.learn(mdps, method, steps, 8, rate, seed, prepare=prepare, policy=policy)[0]


_tuned = lab.tuned(_curve, RATES, lambda curve: float(np.mean(curve)))


def run(arm: str, seed: int, smoke: bool) -> Measured:
    """Exact resolution rate averaged over training."""
    return kit.measured(_curve(arm, 10.0, seed, 3) if smoke else _tuned(arm, seed))


CLAIM = Claim(
    slug="g-ra",
    claim="Counting stepwise rewards only where the task's own reward passes a threshold keeps agents from "
    "farming them (arXiv 2508.10548: completion 47.6 to 93.8 % and modification 19.6 to 23.8 % on SWE-bench "
    "Verified against adding rewards up).",
    metric="mean exact resolution rate over 100 updates, %",
    baseline="added up",
    system="gated",
    run=run,
    margin=1.0,
    seeds=10,
    notes="Six repair tasks per seed: two right edits out of four in order, then submit, in 12 turns. A "
    "call that is valid earns 0.1 (inspecting always is), an idle turn -0.1; the outcome is -1 without a "
    "submitted change, 0 for a wrong and 1 for a right one (our values; the published ones are not known). "
    "Totals normalised within groups of 8 in both arms, best of five step sizes each; the baseline is the "
    "same method with its gate open.",
)
