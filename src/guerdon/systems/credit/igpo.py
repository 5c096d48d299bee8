"""IGPO: a turn earns what it adds to the policy's own likelihood of the right answer."""

from __future__ import annotations

import numpy as np

from guerdon.credit.backups import RewardToGo
from guerdon.credit.baselines import MeanStd, choice
from guerdon.credit.compose import Credit, Level
from guerdon.credit.placing import Fill, Place
from guerdon.credit.sources import Differences
from guerdon.systems.catalogue import system


@system(
    "igpo",
    title="Information Gain-based Policy Optimization",
    arxiv="2510.14967",
    family="credit",
    kind="credit",
)
def igpo(
    gamma: float = 1.0,
    gain: str | None = None,
    eps: float = 1e-6,
    ddof: int = 1,
    variant: str = "paper",
) -> Credit:
    """A_t = sum_{k >= t} gamma^(k-t) z_k over the turns, z_k the normalised gain, z_T the normalised outcome.

    Gains g_t = l_{t+1} - l_t are normalised over all gains of all rollouts of the prompt, outcomes over the
    outcomes of the prompt: (x - mean) / (std + eps). l_t is the mean log-probability of the answer's tokens
    measured before turn t; the last turn has no gain and carries the outcome.

    Args:
        gamma: discount per turn.
        gain: "log" as above, or "prob" for exp(l_{t+1}) - exp(l_t). Default "log", "prob" in "release".
        eps, ddof: of the standard deviations.
        variant: "paper" or "release".

    Inputs: `answer_logprob` (turn, before the turn), `outcome` (rollout, answer F1). A gain that is missing
    adds nothing to the returns before it; a pool of one gives 0.

    Reference: arXiv 2510.14967v2; scrl/llm_agent/generation.py of GuoqingWang1/IGPO, whose advantage code
    (means per token position, sums cut at tool text) is not the paper's and is left out.
    """
    choice(variant, ("paper", "release"), "variant")
    gain = choice(gain or ("prob" if variant == "release" else "log"), ("log", "prob"), "gain")
    normalised = MeanStd(ddof, eps, singleton="zero")
    gains = Differences(
        "answer_logprob", "turn", measured="before", through=np.exp if gain == "prob" else None
    )
    carry = RewardToGo(gamma)
    return Credit(
        [
            Level(gains, baseline=normalised, then=(Fill(), carry)),
            Level("outcome", span="rollout", baseline=normalised, then=(Place("turn", "last"), carry)),
        ],
        name="igpo",
    )
