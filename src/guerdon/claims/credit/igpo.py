"""IGPO: turns rewarded by the gain in the answer's likelihood, against GRPO on the outcome."""

from __future__ import annotations

import numpy as np

from guerdon import credit
from guerdon.claims import kit
from guerdon.claims.claim import Claim, Measured
from guerdon.claims.kit_worlds import guessing, reader
from guerdon.data.rollouts import Rollouts
from guerdon.learn.tabular import TabularPolicy
from guerdon.systems.credit.igpo import igpo

BITS, IDLE = 3, 4


def _likelihoods(rollouts: Rollouts, policy: TabularPolicy, step: int) -> Rollouts:
    """Log-probability of the key before every turn, if the policy had to answer then."""
    answers = policy.theta[:, BITS + IDLE :]
    log_p = answers - np.logaddexp.reduce(answers, axis=1, keepdims=True)
    states, _ = policy.visited(rollouts)
    key = np.repeat(rollouts.group, np.diff(rollouts.offsets("turn")))
    return kit.with_signals(rollouts, answer_logprob=("turn", log_p[states, key]))


def _curve(arm: str, rate: float, seed: int, steps: int = 40) -> np.ndarray:
    keys = guessing(BITS, IDLE)
    policy = TabularPolicy(keys, reader(keys, BITS, IDLE))
    method, prepare = (igpo(), _likelihoods) if arm == "igpo" else (credit.grpo(), None)
    return kit.learn(keys, method, steps, 4, rate, seed, prepare, policy=policy, tied=True)[0]


_tuned = kit.tuned(_curve, (5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0))


def run(arm: str, seed: int, smoke: bool) -> Measured:
    """Area under the exact success curve of one arm."""
    return kit.measured(_curve(arm, 40.0, seed, 3) if smoke else _tuned(arm, seed))


CLAIM = Claim(
    slug="igpo",
    claim="Rewarding a turn by what it adds to the policy's own likelihood of the right answer learns "
    "multi-turn search better than the outcome alone, above all where all rollouts of a prompt fail "
    "(arXiv 2510.14967).",
    metric="mean exact success over 40 updates, %",
    baseline="grpo",
    system="igpo",
    run=run,
    margin=3.0,
    seeds=10,
    notes="A hidden key of 3 bits: ask for a bit, ask one of four idle questions, or answer; at most 8 turns,"
    " all eight keys in every update, groups of 4. One softmax table over what is known is shared by "
    "all keys, and starts out able to read: answers that contradict a known bit are less likely by a "
    "factor of e^3. Each arm takes the best of eight step sizes on three other seeds.",
)
