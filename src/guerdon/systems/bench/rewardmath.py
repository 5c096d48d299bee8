"""Evaluating Robustness of Reward Models for Mathematical Reasoning (arXiv 2410.01729)."""

from __future__ import annotations

from guerdon.bench.report import Report
from guerdon.bench.rewardmath import evaluate_scores
from guerdon.systems.catalogue import system


@system(
    "rewardmath",
    title="Evaluating Robustness of Reward Models for Mathematical Reasoning",
    arxiv="2410.01729",
    family="bench",
    kind="bench",
)
def rewardmath(scores: str) -> Report:
    """RewardMATH: one right solution against nine wrong ones.

    accuracy = mean[s_chosen > max s_rejected], with ties [>=], mrr = mean 1 / (1 + #{rejected >= chosen}).
    Step scores are aggregated eight ways, each reported; a judge's pairwise verdicts need all nine wins.

    Args:
        scores: file of raw outputs.

    Reference: Kim et al., arXiv 2410.01729.
    """
    return evaluate_scores(scores)
