"""CAPO: tokens of steps that a critic finds wrong lose a fixed amount of the outcome reward."""

from __future__ import annotations

from guerdon.credit.baselines import MeanStd, choice
from guerdon.credit.compose import Credit, Level
from guerdon.credit.sources import FirstOf, mixed
from guerdon.credit.votes import RULES, Votes
from guerdon.systems.catalogue import system


@system(
    "capo",
    title="CAPO: Towards Enhancing LLM Reasoning through Verifiable Generative Credit Assignment",
    arxiv="2508.02298",
    family="credit",
    kind="credit",
)
def capo(
    vote: str = "majority",
    w_outcome: float = 2.0,
    w_process: float = 1.0,
    ddof: int = 1,
    eps: float = 1e-6,
) -> Credit:
    """A = (r - mean) / (std + eps), r = W_o c - W_p [the step is voted wrong], over all tokens of the prompt.

    c is 0 or 1. The statistics count every token of every rollout of the prompt once; nothing is summed over
    what follows.

    Args:
        vote: how k critiques become one verdict: "majority" (at least half), "strict" (more than half),
            "intersection" (all), "union" (any), "single" (the first critique), or "average" (W_p times the
            share of critiques).
        w_outcome, w_process: W_o and W_p.
        ddof, eps: of the standard deviation.

    Inputs: `outcome` (rollout, 0/1), `critique_1`, `critique_2`, ... (step, 1 where that critique lists the
    step as wrong). A step no critique could judge gets no advantage.

    Reference: arXiv 2508.02298; rule and vote after its figure and published accounts of its Eq. 2.
    """
    choice(vote, tuple(RULES), "vote")
    reward = mixed(
        [(FirstOf(("outcome",), "rollout"), w_outcome), (Votes("critique_", vote), -w_process)], "step"
    )
    pooled = MeanStd(ddof, eps, singleton="zero", unit="token")
    return Credit([Level(reward, baseline=pooled)], name="capo")
