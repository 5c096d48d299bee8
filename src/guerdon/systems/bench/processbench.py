"""ProcessBench: Identifying Process Errors in Mathematical Reasoning (arXiv 2412.06559)."""

from __future__ import annotations

from guerdon.bench.processbench import evaluate_predictions, evaluate_scores
from guerdon.bench.report import Report
from guerdon.errors import RecipeError
from guerdon.systems.catalogue import system


@system(
    "processbench",
    title="ProcessBench: Identifying Process Errors in Mathematical Reasoning",
    arxiv="2412.06559",
    family="bench",
    kind="bench",
)
def processbench(
    data: str,
    predictions: str | None = None,
    scores: str | None = None,
    threshold: float | None = None,
    tune_on: str = "gsm8k",
) -> Report:
    """ProcessBench: find the first wrong step.

    acc_error = mean[prediction = label | label != -1], acc_correct = mean[prediction = -1 | label = -1],
    F1 = 2 acc_error acc_correct / (acc_error + acc_correct) per subset (0 where both are 0), averaged over
    the subsets. A step scorer predicts the first step below the threshold (equal counts as good).

    Args:
        data: the benchmark's file; predictions or scores: saved outputs.
        threshold: of step scores; None tunes it on `tune_on`.

    Reference: Zheng et al., arXiv 2412.06559.
    """
    if (predictions is None) == (scores is None):
        raise RecipeError("processbench needs either predictions or scores")
    if predictions is not None:
        return evaluate_predictions(data, predictions)
    return evaluate_scores(data, str(scores), threshold, tune_on)
