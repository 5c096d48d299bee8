"""JudgeBench: A Benchmark for Evaluating LLM-based Judges (arXiv 2410.12784)."""

from __future__ import annotations

from guerdon.bench.judgebench import evaluate_verdicts
from guerdon.bench.report import Report
from guerdon.systems.catalogue import system


@system(
    "judgebench",
    title="JudgeBench: A Benchmark for Evaluating LLM-based Judges",
    arxiv="2410.12784",
    family="bench",
    kind="bench",
)
def judgebench(verdicts: str) -> Report:
    """JudgeBench: prefer the objectively right response in both orders.

    right = [sum over the two orders of (+1 label, -1 opposite, 0 tie or none) > 0], a share of the pairs per
    source group and pooled overall.

    Args:
        verdicts: file of raw verdicts.

    Reference: Tan et al., arXiv 2410.12784.
    """
    return evaluate_verdicts(verdicts)
