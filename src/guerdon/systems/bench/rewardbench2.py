"""RewardBench 2: Advancing Reward Model Evaluation (arXiv 2506.01937)."""

from __future__ import annotations

from guerdon.bench.report import Report
from guerdon.bench.rewardbench2 import evaluate_scores
from guerdon.systems.catalogue import system


@system(
    "rewardbench2",
    title="RewardBench 2: Advancing Reward Model Evaluation",
    arxiv="2506.01937",
    family="bench",
    kind="bench",
)
def rewardbench2(data: str, scores: str) -> Report:
    """RewardBench 2: the right answer of four must score best; the ties subset ranks several right ones.

    A prompt earns 1 / #best if the right answer is among the best, else 0; `ties_score` weighs accuracy and
    margins of the ties subset; the final number is the unweighted mean of the subsets (25 at random).

    Args:
        data: the benchmark's file; scores: saved scores, chosen answers first.

    Reference: Malik et al., arXiv 2506.01937.
    """
    return evaluate_scores(data, scores)
