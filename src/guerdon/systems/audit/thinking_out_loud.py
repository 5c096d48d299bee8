"""Thinking Out Loud: Do Reasoning Models Know When They're Right? (arXiv 2504.06564)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from guerdon.audit.calibration import calibration
from guerdon.systems.catalogue import system


@system(
    "thinking-out-loud",
    title="Thinking Out Loud: Do Reasoning Models Know When They're Right?",
    arxiv="2504.06564",
    family="audit",
    kind="audit",
)
def thinking_out_loud(bins: int = 10, seed: int = 0) -> Callable[..., dict[str, Any]]:
    """Calibration of verbalised confidence: (texts, outcomes 0/1, lengths of thought) -> metrics.

        ECE = sum_b (n_b / n) |acc_b - conf_b| over equal-width bins, ACE over equal-mass ones,
        Brier = mean (p - y)^2, AUROC of p for y (ties 1/2), over-confidence mean p - mean y,
        abstention F = harmonic mean of right / all and right / attempted.

    Confidence is read from the text (per cent, a number, or one of ten verbal classes at its midpoint); "I
    don't know" is counted apart and enters no calibration number.

    Args:
        bins: of ECE and ACE. seed: of the bootstrap interval of ECE.

    Reference: Mei et al., arXiv 2504.06564.
    """
    return partial(calibration, bins=bins, seed=seed)
