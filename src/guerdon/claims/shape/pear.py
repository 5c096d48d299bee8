"""PEAR against the outcome alone, where needless thinking has high entropy."""

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
PROBLEMS, MOST, TOKENS, WRONG = 6, 20, 8, 20.0


def scratch(rng: np.random.Generator, need: int) -> tuple[MDP, np.ndarray]:
    """Think with any of 7 tokens, end it with token 0, answer; and the logits of the first policy.

    With `need` thinking tokens or more one of 8 answers is right, with fewer each is with a chance of 0.1.
    """
    ready, unready = MOST + 1, MOST + 2
    following = np.repeat(np.minimum(np.arange(MOST + 3) + 1, MOST)[:, None], TOKENS, axis=1)
    following[: MOST + 1, 0] = np.where(np.arange(MOST + 1) >= need, ready, unready)
    done = np.zeros(following.shape, bool)
    done[ready:] = True
    success = np.zeros(following.shape)
    right = rng.integers(TOKENS)
    success[ready, right], success[unready] = 1.0, 0.1
    logits = np.zeros(following.shape)
    logits[:need, 1], logits[ready, right] = 4.0, 2.0
    return MDP(next=following, reward=success, done=done, success=success, horizon=MOST + 4), logits


def cost(policy: TabularPolicy) -> float:
    """Expected tokens, a wrong or unfinished answer costing 20 more, over problems."""
    found = []
    for at, mdp in enumerate(policy.mdps):
        pi, ahead = policy.probabilities(at), np.full(mdp.n_states, WRONG)
        for _ in range(mdp.horizon):
            ahead = (pi * (1.0 + np.where(mdp.done, WRONG * (1.0 - mdp.success), ahead[mdp.next]))).sum(
                axis=1
            )
        found.append(ahead[mdp.start])
    return float(np.mean(found))


def _curve(arm: str, rate: float, seed: int, steps: int = 80) -> np.ndarray:
    rng = np.random.default_rng(seed)
    made = [scratch(rng, need) for need in rng.integers(2, 6, PROBLEMS)]
    mdps = [mdp for mdp, _ in made]

    def prepare(rollouts: Rollouts, policy: TabularPolicy, step: int) -> Rollouts:
        rng = np.random.default_rng([seed, step])
        outcome = rng.random(len(rollouts)) < rollouts.signals["outcome"].values
        ends = [
            None if cut else int(n) - 2 for cut, n in zip(rollouts.truncated, rollouts.lengths, strict=True)
        ]
        known = kit.with_signals(rollouts, outcome=("rollout", outcome.astype(float)))
        return known.replace(meta=[{"think_end": end} for end in ends])

    method = credit.pear() if arm == "pear" else credit.grpo()
    policy = TabularPolicy(mdps, np.concatenate([logits for _, logits in made]))
    return kit.learn(mdps, method, steps, 8, rate, seed, prepare=prepare, policy=policy, measure=cost)[0]


_tuned = lab.tuned(_curve, RATES, lambda curve: -lab.last(curve, 10))


def run(arm: str, seed: int, smoke: bool) -> Measured:
    """Expected tokens after training."""
    curve = _curve(arm, 10.0, seed, 3) if smoke else _tuned(arm, seed)
    return lab.shown(lab.last(curve, 10), curve)


CLAIM = Claim(
    slug="pear",
    claim="Taking the thinking's surplus of entropy over the answer's off right answers shortens reasoning "
    "at about the same accuracy (arXiv 2510.08026: 32 to 57 % fewer tokens at less than a point of "
    "accuracy).",
    metric="tokens per answer after 80 updates, a wrong one costing 20 more; lower is better",
    baseline="outcome only",
    system="pear",
    run=run,
    higher=False,
    margin=1.0,
    seeds=10,
    notes="Six problems per seed that need two to five thinking tokens, which the first policy writes with "
    "little entropy, and waste all further ones, which are uniform over seven; then one of eight answers. A "
    "softmax table, GRPO in both arms, groups of 8, best of five step sizes each.",
)
