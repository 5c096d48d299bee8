"""STARC: which distance of rewards says how much is lost by optimising the wrong one."""

from __future__ import annotations

import numpy as np

from guerdon.audit.calibration import spearman
from guerdon.audit.reward_distance import random_mdp, regret
from guerdon.claims.claim import Claim, Measured
from guerdon.systems.audit.starc import starc

STATES, ACTIONS, GAMMA, PAIRS = 8, 4, 0.9, 40


def run(arm: str, seed: int, smoke: bool) -> Measured:
    """Rank correlation of the distance with the regret over pairs of rewards."""
    measure = starc(form="epic" if arm == "epic" else "value")
    distances, regrets = [], []
    for pair in range(6 if smoke else PAIRS):
        rng = np.random.default_rng([seed, pair])
        mdp = random_mdp(STATES, ACTIONS, GAMMA, 1000 * seed + pair)
        true, other = rng.normal(size=(2, STATES, ACTIONS, STATES))
        potential = rng.normal(size=STATES)
        proxy = true + rng.uniform(0, 3) * other + GAMMA * potential[None, None, :] - potential[:, None, None]
        distances.append(measure(mdp, true, proxy))
        regrets.append(regret(mdp, true, proxy))
    return spearman(distances, regrets)


CLAIM = Claim(
    slug="starc",
    claim="STARC distances of rewards follow the regret of optimising one for the other more closely than "
    "EPIC does (Skalse et al., arXiv 2309.15257).",
    metric="rank correlation of distance and regret over 40 pairs of rewards",
    baseline="epic",
    system="starc",
    run=run,
    margin=0.02,
    seeds=10,
    notes="Random MDPs of 8 states and 4 actions, discount 0.9; the second reward of a pair is the first "
    "with up to three times as much noise and a random potential added. Regret is the worst loss along ways "
    "between optimal policies, as a share of the range of returns.",
)
