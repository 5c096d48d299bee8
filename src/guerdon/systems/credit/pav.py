"""PAV: the reward of a step is its advantage under a prover other than the policy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from guerdon.credit.baselines import choice
from guerdon.credit.compose import Credit, Level
from guerdon.credit.placing import Fill, Place
from guerdon.credit.sources import Differences
from guerdon.credit.stages import Returns
from guerdon.errors import RecipeError
from guerdon.systems.catalogue import system


@dataclass(frozen=True)
class BestOf:
    """Q of the best of K samples: 1 - (1 - Q)^K, with Q clamped to [0, 1]."""

    K: int = 4

    def __post_init__(self) -> None:
        if isinstance(self.K, bool) or not isinstance(self.K, int | float) or not 1 <= self.K < float("inf"):
            raise RecipeError(f"K must be a number, 1 or more; got {self.K!r}")

    def __call__(self, q: np.ndarray) -> np.ndarray:
        return 1.0 - (1.0 - np.clip(q, 0.0, 1.0)) ** self.K


@system(
    "pav",
    title="Rewarding Progress: Scaling Automated Process Verifiers for LLM Reasoning",
    arxiv="2410.08146",
    family="credit",
    kind="credit",
)
def pav(alpha: float = 1.0, K: int = 4, returns: str = "none", gamma: float = 1.0) -> Credit:
    """r_h = alpha (Q^mu_h - Q^mu_{h-1}) + [h is the last step] R, Q^mu = 1 - (1 - Q^pi)^K.

    The prover mu is the best of K samples of the policy; K = 1 is the policy itself, whose advantages leave
    the gradient as it is. No baseline is subtracted.

    Args:
        alpha: weight of progress (5 and 3 for the paper's 2B and 9B policies).
        K: samples of the prover.
        returns: "none" gives every step its own reward, "sum" the discounted sum of what follows, in which
            progress telescopes to a baseline; "effective" gives every step R and its own progress, the
            paper's policy gradient.
        gamma: of the sum.

    Inputs: `q_policy` (step, Q^pi after the step), `q_root` (rollout, Q^pi of the bare prompt; without it the
    first step has no progress), `outcome` (rollout).

    Reference: Setlur et al., arXiv 2410.08146, Eq. 4 and 5. `effective_reward` is its score in search.
    """
    progress = Differences("q_policy", "step", start="q_root", through=BestOf(K))
    choice(returns, ("none", "sum", "effective"), "returns")
    whole = returns == "effective"
    carry = Returns("none" if whole else returns, gamma)
    outcome = Level("outcome", span="rollout", then=() if whole else (Place("step", "last"), carry))
    return Credit([Level(progress, then=(Fill(), carry), weight=alpha), outcome], name="pav")


def effective_reward(q_before: float, q_after: float, alpha: float = 0.5, K: int = 4) -> float:
    """Q^pi_h + alpha (Q^mu_h - Q^mu_{h-1}): what a step is worth to a beam search."""
    best = BestOf(K)
    return float(q_after + alpha * (best(np.asarray(q_after)) - best(np.asarray(q_before))))
