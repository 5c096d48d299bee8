"""Thresholds of a step scorer side by side, on one subset only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from guerdon.bench.processbench import NO_ERROR, first_below, harmonic
from guerdon.bench.report import Metric, Table, mean, statistic


def threshold_table(scores: Sequence[Sequence[float]], labels: Sequence[int], subset: str) -> Table:
    """Accuracy on wrong and on right solutions and F1 for up to 21 thresholds, quantiles of the scores.

    The last threshold lies above every score, so that every first step is an error.

    Args:
        scores: of the steps of each solution; labels: index of its first wrong step, or -1.
        subset: whose solutions these are; the title says so, since a threshold chosen here is
            not tested here.
    """
    values = np.concatenate([np.asarray(s, np.float64) for s in scores])
    grid = np.unique(np.quantile(values, np.linspace(0.0, 1.0, 20), method="nearest"))
    rows: dict[str, dict[str, Metric]] = {}
    for threshold in [*grid.tolist(), float(np.nextafter(grid[-1], np.inf))]:
        got = np.array([first_below(s, threshold) for s in scores])
        hit, wrong = got == np.asarray(labels), np.asarray(labels) != NO_ERROR
        error, correct = hit[wrong].astype(float), hit[~wrong].astype(float)
        name = f"{threshold:.6g}" if threshold <= grid[-1] else f"> {grid[-1]:.6g}"
        rows[name] = {
            "error": mean(error),
            "correct": mean(correct),
            "f1": statistic([error, correct], harmonic),
        }
    return Table(f"thresholds, on {subset} only", rows)
