"""ProRAG: outcome advantage plus process scores normalised over all generated tokens of a prompt."""

from __future__ import annotations

from guerdon.credit.baselines import MeanStd, choice
from guerdon.credit.compose import Credit, Level
from guerdon.systems.catalogue import system


@system(
    "prorag",
    title="ProRAG: Process-Supervised Reinforcement Learning for Retrieval-Augmented Generation",
    arxiv="2601.21912",
    family="credit",
    kind="credit",
)
def prorag(
    weight: float = 0.3,
    pool: str = "token",
    ddof_outcome: int = 1,
    ddof_process: int = 0,
    outcome_eps: float = 1e-4,
) -> Credit:
    """A = (R - mean) / (std + eps) + w (s - mu) / sqrt(var + 1e-8).

    R is compared over the rollouts of the prompt. s, the score of a step, stands on every token the policy
    generated in it; mu and var are over all such tokens of the prompt, so long steps weigh more. A step is
    credited with its own score only.

    Args:
        weight: w.
        pool: "token" as above, or "step": every step counts once.
        ddof_outcome, ddof_process: of the two variances.
        outcome_eps: eps.

    Inputs: `outcome` (rollout, answer + format), `step_score` (step, sigmoid of the reward model + format).
    `guerdon.systems.credit.prorag.step_format` and `outcome_reward` make the rule-based parts from text.

    Reference: arXiv 2601.21912; prorag/rl of lilinwz/ProRAG.
    """
    choice(pool, ("token", "step"), "pool")
    process = MeanStd(
        ddof=ddof_process,
        eps=1e-8,
        singleton="zero",
        unit="token" if pool == "token" else "span",
        eps_place="var",
    )
    return Credit(
        [
            Level("outcome", span="rollout", baseline=MeanStd(ddof=ddof_outcome, eps=outcome_eps)),
            Level("step_score", span="step", baseline=process, weight=weight),
        ],
        name="prorag",
    )
